import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema, ModelProtoSchema, type NodeProto, NodeProtoSchema } from 'onnx-buf';
import { type ConstantTensor, constantOf, floatAttribute, integerAttribute } from './constants.js';
import { decodedModel, invalid, type OnnxModel } from './model-file.js';

// Products that quantisers put in place of a MatMul, Gemm or Conv: they take codes, integers that stand for
// `(code - zero) scale`. The quantisers of ONNX Runtime write them for `QuantFormat.QOperator`, and its optimiser does.

/** Positions of codes, of their scale and of their zero point among the inputs of a node. */
type Coded = readonly [codes: number, scale: number, zero: number];

interface IntegerProduct {
  /** None: it takes the features as they are. */
  readonly features: Coded | undefined;
  readonly weights: Coded;
  /** Codes whose scale is the product of the other two, or numbers. */
  readonly bias?: { readonly at: number; readonly isCoded: boolean };
  /** Whether it makes codes again. */
  readonly makesCodes: boolean;
}

const kinds: Readonly<Record<string, IntegerProduct>> = {
  QLinearMatMul: { features: [0, 1, 2], weights: [3, 4, 5], makesCodes: true },
  QLinearConv: { features: [0, 1, 2], weights: [3, 4, 5], bias: { at: 8, isCoded: true }, makesCodes: true },
  QGemm: { features: [0, 1, 2], weights: [3, 4, 5], bias: { at: 6, isCoded: true }, makesCodes: true },
  MatMulIntegerToFloat: {
    features: [0, 2, 4],
    weights: [1, 3, 5],
    bias: { at: 6, isCoded: false },
    makesCodes: false,
  },
  DynamicQuantizeMatMul: {
    features: undefined,
    weights: [1, 2, 3],
    bias: { at: 4, isCoded: false },
    makesCodes: false,
  },
};

/** Whether an operator multiplies codes. */
export const isIntegerProduct = (opType: string): boolean => kinds[opType] !== undefined;

/** Whether an operator rounds what it makes to codes, which have a least and a greatest. */
export const roundsToCodes = (opType: string): boolean =>
  opType === 'QuantizeLinear' || opType.startsWith('QLinear') || opType === 'QGemm';

/**
 * The weights and the bias of a product of codes, as the node stores them: of a QGemm that transposes them, and of a
 * QLinearConv, the classes come first.
 *
 * @returns `features`: the value that holds them as numbers; undefined where they exist as codes alone
 * @throws KdSpecError `checkpoint-invalid` where something of it is no constant
 */
export async function readIntegerProduct(
  model: OnnxModel,
  node: NodeProto,
): Promise<{
  readonly features: string | undefined;
  readonly weights: ConstantTensor;
  readonly bias: ConstantTensor | undefined;
}> {
  const { weights, bias, features } = kinds[node.opType];
  const constant = async (at: number, what: string) => {
    const value = node.input[at] ? await constantOf(model, node.input[at]) : undefined;
    if (value) return value;
    throw invalid(
      model.path,
      `the ${node.opType}: its ${what} are no constants, so it is no head: say --logits NAME`,
    );
  };
  const scale = await constant(weights[1], 'scales');
  const classesFirst = node.opType === 'QLinearConv' || integerAttribute(node, 'transB', 0) === 1;
  const alpha = floatAttribute(node, 'alpha', 1);
  const numbers = dequantised(await constant(weights[0], 'weights'), {
    scale: scale.values.map((value) => value * alpha),
    zero: node.input[weights[2]] ? (await constant(weights[2], 'zero points')).values : undefined,
    classesFirst,
  });
  const offsets = bias && node.input[bias.at] ? await constant(bias.at, 'biases') : undefined;
  const ofFeatures =
    bias?.isCoded && features ? (await constant(features[1], 'scales of features')).values[0] * alpha : 1;
  return {
    features: floatFeatures(model, node),
    weights: numbers,
    bias:
      offsets && bias?.isCoded
        ? dequantised(offsets, { scale: scale.values.map((value) => value * ofFeatures) })
        : offsets,
  };
}

/** A constant that stands as codes, scale and zero point, in this order; of a number that needs none the name alone. */
export async function codedConstant(
  model: OnnxModel,
  [codes, scale, zero]: readonly string[],
): Promise<ConstantTensor | undefined> {
  const value = await constantOf(model, codes);
  const by = scale ? await constantOf(model, scale) : undefined;
  if (value === undefined || by === undefined) return value;
  const from = zero ? await constantOf(model, zero) : undefined;
  return dequantised(value, { scale: by.values, zero: from?.values });
}

/** `(code - zero) scale`, each one number or one a class. */
export function dequantised(
  { shape, values }: ConstantTensor,
  {
    scale,
    zero,
    classesFirst = false,
  }: {
    readonly scale: Float64Array;
    readonly zero?: Float64Array | undefined;
    /** Whether the first axis is that of the classes, not the last. */
    readonly classesFirst?: boolean;
  },
): ConstantTensor {
  const classes = (classesFirst ? shape[0] : shape.at(-1)) ?? 1;
  const inner = classesFirst ? values.length / classes : 1;
  const at = (constant: Float64Array, i: number) =>
    constant[constant.length === 1 ? 0 : Math.floor(i / inner) % classes];
  return { shape, values: values.map((code, i) => (code - (zero ? at(zero, i) : 0)) * at(scale, i)) };
}

/**
 * The value that a product of codes takes as numbers. Codes have a least and a greatest, so that what was before them may
 * be others, unless their range is that of the image itself.
 */
function floatFeatures(model: OnnxModel, node: NodeProto): string | undefined {
  const { features } = kinds[node.opType];
  if (features === undefined) return node.input[0];
  const [codes, scale, zero] = features.map((at) => node.input[at] ?? '');
  const maker = model.producers.get(codes);
  if (maker?.opType === 'DynamicQuantizeLinear') return maker.input[0];
  const beside = model.consumers
    .get(codes)
    ?.find(
      ({ opType, input }) => opType === 'DequantizeLinear' && input[1] === scale && (input[2] ?? '') === zero,
    );
  return beside?.output[0];
}

/**
 * A model in which the features of a product exist as numbers, too. Nothing else changes: where they were codes alone,
 * a node beside the product makes numbers of them, and no output needs it.
 */
export function withFloatFeatures(model: OnnxModel, product: NodeProto): OnnxModel {
  if (!isIntegerProduct(product.opType) || floatFeatures(model, product) !== undefined) return model;
  const input = (kinds[product.opType].features ?? []).map((at) => product.input[at] ?? '');
  const taken = new Set(model.graph.node.flatMap(({ output }) => output));
  let name = `${input[0]}_dequantised`;
  while (taken.has(name)) name += '_';
  const beside = create(NodeProtoSchema, {
    opType: 'DequantizeLinear',
    input: input.at(-1) === '' ? input.slice(0, -1) : input,
    output: [name],
  });
  const at = model.graph.node.indexOf(product);
  const graph = create(GraphProtoSchema, {
    ...model.graph,
    node: model.graph.node.toSpliced(at, 0, beside),
  });
  return decodedModel(model.path, create(ModelProtoSchema, { ...model.proto, graph }), model.bytes);
}
