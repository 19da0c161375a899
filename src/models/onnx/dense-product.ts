import type { NodeProto } from 'onnx-buf';
import { type ConstantTensor, constantOf, floatAttribute, integerAttribute } from './constants.js';
import { dequantised, isIntegerProduct, readIntegerProduct } from './integer-products.js';
import { invalid, nodeLabel, type OnnxModel } from './model-file.js';

/** The product's own weights, bias and features, before the steps behind it. */
interface Product {
  readonly features: string;
  /** (width, classes) */
  readonly weights: ConstantTensor;
  readonly bias: ConstantTensor | undefined;
}

/**
 * The weights of a product that may be a head: of a MatMul, a Gemm, a convolution of one pixel, or their quantised forms.
 *
 * @throws KdSpecError `checkpoint-invalid` where its weights are no constants, or it is no dense layer
 */
export async function readProduct(model: OnnxModel, node: NodeProto): Promise<Product> {
  const { opType, input } = node;
  const constant = async (name: string, what: string) => {
    const value = name === '' || name === undefined ? undefined : await constantOf(model, name);
    if (value) return value;
    throw invalid(
      model.path,
      `${nodeLabel(node)}: its ${what} are no constants, so it is no head: say --logits NAME`,
    );
  };
  const matrix = (value: ConstantTensor) => {
    if (value.shape.length === 2) return value;
    throw invalid(
      model.path,
      `${nodeLabel(node)}: expected weights (features, classes), found [${value.shape.join(', ')}]`,
    );
  };
  if (isIntegerProduct(opType)) return integerProduct(model, node, matrix);
  switch (opType) {
    case 'Gemm': {
      if (integerAttribute(node, 'transA', 0) !== 0)
        throw invalid(model.path, `${nodeLabel(node)} transposes its features`);
      const stored = matrix(await constant(input[1], 'weights'));
      const turned = integerAttribute(node, 'transB', 0) === 1 ? transposed(stored) : stored;
      const weights = scaled(turned, floatAttribute(node, 'alpha', 1));
      const bias = input[2]
        ? scaled(await constant(input[2], 'biases'), floatAttribute(node, 'beta', 1))
        : undefined;
      return { features: input[0], weights, bias };
    }
    case 'Conv': {
      const weights = transposed(ofOnePixel(model, node, await constant(input[1], 'weights')));
      return { features: input[0], weights, bias: input[2] ? await constant(input[2], 'biases') : undefined };
    }
    case 'MatMulInteger': {
      // DynamicQuantizeLinear(x) and (W - zero) are multiplied; the scale of W stands in a product with that of x.
      const weights = matrix(await constant(input[1], 'weights'));
      const zero = input[3] ? await constant(input[3], 'zero points') : undefined;
      const scale = await scaleOfIntegers(model, node);
      const quantiser = model.producers.get(input[0]);
      if (quantiser?.opType !== 'DynamicQuantizeLinear')
        throw invalid(
          model.path,
          `${nodeLabel(node)}: its features are integers that are made in another way than known`,
        );
      return {
        features: quantiser.input[0],
        weights: dequantised(weights, { scale: scale.values, zero: zero?.values }),
        bias: undefined,
      };
    }
    default:
      return { features: input[0], weights: matrix(await constant(input[1], 'weights')), bias: undefined };
  }
}

/** Of the weights of a dynamically quantised product: the constant in `Mul(cast(product), Mul(scale of x, scale))`. */
async function scaleOfIntegers(model: OnnxModel, node: NodeProto): Promise<ConstantTensor> {
  let [value] = node.output;
  for (;;) {
    const [next] = model.consumers.get(value) ?? [];
    if (next === undefined) break;
    if (next.opType === 'Mul') {
      const other = model.producers.get(next.input.find((name) => name !== value) ?? '');
      for (const name of other?.opType === 'Mul' ? other.input : []) {
        const scale = await constantOf(model, name);
        if (scale) return scale;
      }
      break;
    }
    if (next.opType !== 'Cast') break;
    [value] = next.output;
  }
  throw invalid(
    model.path,
    `${nodeLabel(node)}: found no scale of its quantised weights: use the float model`,
  );
}

/** A product of codes, which takes numbers where the model was made so: see {@link withFeatures}. */
async function integerProduct(
  model: OnnxModel,
  node: NodeProto,
  matrix: (value: ConstantTensor) => ConstantTensor,
): Promise<Product> {
  const { features, weights, bias } = await readIntegerProduct(model, node);
  if (features === undefined)
    throw invalid(
      model.path,
      `${nodeLabel(node)}: its features exist as integers alone: import the model again`,
    );
  if (node.opType === 'QLinearConv')
    return { features, weights: transposed(ofOnePixel(model, node, weights)), bias };
  if (integerAttribute(node, 'transA', 0) !== 0)
    throw invalid(model.path, `${nodeLabel(node)} transposes its features`);
  const stored = matrix(weights);
  return { features, weights: integerAttribute(node, 'transB', 0) === 1 ? transposed(stored) : stored, bias };
}

/** The weights of a convolution, (classes, width), if it looks at one pixel. */
function ofOnePixel(model: OnnxModel, node: NodeProto, kernel: ConstantTensor): ConstantTensor {
  const [outputs, inputs, ...window] = kernel.shape;
  if (window.some((extent) => extent !== 1) || integerAttribute(node, 'group', 1) !== 1) {
    throw invalid(
      model.path,
      `${nodeLabel(node)} looks at more than one pixel, so it is no head: say --logits NAME`,
    );
  }
  return { shape: [outputs, inputs], values: kernel.values };
}

function transposed({ shape: [rows, columns], values }: ConstantTensor): ConstantTensor {
  const out = new Float64Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = values[row * columns + column];
  return { shape: [columns, rows], values: out };
}

function scaled(constant: ConstantTensor, factor: number): ConstantTensor {
  return factor === 1 ? constant : { ...constant, values: constant.values.map((value) => value * factor) };
}
