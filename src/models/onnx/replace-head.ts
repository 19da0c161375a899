import { create } from '@bufbuild/protobuf';
import {
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  type NodeProto,
  TensorProto_DataType,
} from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import { largestHalf, numberToHalf } from '../../math/half.js';
import { withData } from './constants.js';
import type { OnnxHead } from './find-head.js';
import { createGraphWriter, type GraphWriter, renameValue } from './graph-writer.js';
import { isIntegerProduct, roundsToCodes } from './integer-products.js';
import { declaredExtents, type OnnxModel } from './model-file.js';
import { writtenHeadPrefix } from './walk-back.js';

/** A dense layer: `logits = features weights + bias`. */
export interface DenseHead {
  /** (width, classes); with hidden units (width + units, classes), their rows last */
  readonly weights: Float32Array;
  /** (classes) */
  readonly bias: Float32Array;
  /** Units, `relu(features weights + bias)`, that it takes beside the features: (width, units) and (units). */
  readonly hidden?: { readonly weights: Float32Array; readonly bias: Float32Array } | undefined;
}

const leastOpset = 7; // sums that broadcast

/**
 * Writes another last layer into a foreign classifier. Its inputs, outputs, names and metadata stay as they are, and what
 * no output needs any longer is left out. The new weights have the type of the old ones; in place of quantised ones they
 * are float32. Hidden units are joined to the features, so that the layer that is written is the head that `findHead` finds.
 *
 * @param head where the old layer is: see `findHead`
 * @returns the model, its external data inside
 * @throws KdSpecError `option-invalid` where something else stands between the product and the logits
 */
export async function withHead(
  model: OnnxModel,
  head: OnnxHead,
  { weights, bias, hidden }: DenseHead,
): Promise<ModelProto> {
  const { product, logits, features, width } = head;
  if (model.opset < leastOpset) {
    throw new KdSpecError(
      'option-invalid',
      `the model is of operator set ${model.opset}, and another head needs ${leastOpset}: convert it ` +
        '(onnx.version_converter.convert_version(model, 17) in Python) and import it again',
    );
  }
  expectReplaceable(head);
  const graph = openCopy(model);
  const prefix = freshPrefix(graph);
  const writer = createGraphWriter(graph, model.opset, { prefix });
  const store = storeAs(writer, headType(model, product));
  const isPixel = product.opType === 'Conv';
  const layer = (input: string, inputs: number, values: Float32Array, offsets: Float32Array) => {
    const units = offsets.length;
    if (isPixel) {
      const kernel = store(turned(values, inputs, units), [units, inputs, 1, 1]);
      return writer.node('Conv', [input, kernel, store(offsets, [units])]);
    }
    const product = writer.node('MatMul', [input, store(values, [inputs, units])]);
    return writer.add(product, store(offsets, [units]));
  };
  let input = features;
  if (hidden) {
    const units = writer.node('Relu', [layer(features, width, hidden.weights, hidden.bias)]);
    input = writer.node('Concat', [features, units], { axis: isPixel ? 1 : lastAxis(model, head) });
  }
  const made = layer(input, width + (hidden?.bias.length ?? 0), weights, bias);
  const before = `${prefix}before`;
  renameValue(graph, logits, before);
  writer.name(made, logits);
  placeBehind(graph, features, graph.node.slice(model.graph.node.length));
  removeFrom(graph, before);
  return withData(model, graph);
}

/**
 * Refuses logits that other logits cannot stand for.
 *
 * @throws KdSpecError `option-invalid` where they have another shape or type than the product of the last layer
 */
export function expectReplaceable({ isReshaped, product, logits, path }: OnnxHead): void {
  if (!isReshaped && !roundsToCodes(product.opType)) return;
  throw new KdSpecError(
    'option-invalid',
    `the logits "${logits}" are made of the product of the last layer by ${path.join(' <- ')}, in another shape or ` +
      'type, and kd-spec writes no other head there: take the specialists, or change the layer with the tools that ' +
      'the model was made with',
  );
}

/** The graph of a model, to which nodes and constants can be added while the model stays as it is. */
export function openCopy({ graph }: OnnxModel): GraphProto {
  return create(GraphProtoSchema, {
    ...graph,
    node: [...graph.node],
    initializer: [...graph.initializer],
    input: [...graph.input],
  });
}

/** The axis of the features of a product of matrices; operator sets before 11 count axes from the first one alone. */
function lastAxis(model: OnnxModel, { features, product }: OnnxHead): number {
  if (model.opset >= 11) return -1;
  if (product.opType === 'Gemm') return 1;
  const declared = [...model.graph.valueInfo, ...model.graph.input].find(({ name }) => name === features);
  const rank = declaredExtents(declared)?.length;
  if (rank !== undefined) return rank - 1;
  throw new KdSpecError(
    'option-invalid',
    `the model is of operator set ${model.opset} and does not say how many axes "${features}" has, to which hidden units ` +
      'are joined: convert it (onnx.version_converter.convert_version(model, 17) in Python) and import it again',
  );
}

/** (width, classes) to (classes, width) */
function turned(weights: Float32Array, width: number, classes: number): Float32Array {
  const out = new Float32Array(weights.length);
  for (let feature = 0; feature < width; feature++)
    for (let label = 0; label < classes; label++)
      out[label * width + feature] = weights[feature * classes + label];
  return out;
}

/** The type in which a product takes its weights: that of what is stored, behind what makes the weights of it. */
function weightsType(model: OnnxModel, name: string, product: string): TensorProto_DataType {
  // The features of a product of integers are float32.
  if (product === 'MatMulInteger' || isIntegerProduct(product)) return TensorProto_DataType.FLOAT;
  const stored = model.initializers.get(name);
  if (stored) return stored.dataType;
  const node = model.producers.get(name);
  const attribute = (key: string) => node?.attribute.find((one) => one.name === key);
  if (node?.opType === 'Constant') return attribute('value')?.t?.dataType ?? TensorProto_DataType.FLOAT;
  if (node?.opType === 'Cast') return Number(attribute('to')?.i ?? TensorProto_DataType.FLOAT);
  const from = node?.input[node.opType === 'DequantizeLinear' ? 1 : 0];
  return from === undefined ? TensorProto_DataType.FLOAT : weightsType(model, from, product);
}

/**
 * The type of the numbers of a last layer.
 *
 * @throws KdSpecError `option-invalid` for weights that are no numbers of 16, 32 or 64 bits
 */
export function headType(model: OnnxModel, product: NodeProto): 'float16' | 'float32' | 'float64' {
  const type = weightsType(model, product.input[1], product.opType);
  switch (type) {
    case TensorProto_DataType.FLOAT:
      return 'float32';
    case TensorProto_DataType.DOUBLE:
      return 'float64';
    case TensorProto_DataType.FLOAT16:
      return 'float16';
    default:
      throw new KdSpecError(
        'option-invalid',
        `the last layer has weights of type ${TensorProto_DataType[type]}, and kd-spec writes another head in float16, ` +
          'float32 and float64 only: take the specialists',
      );
  }
}

function storeAs(
  writer: GraphWriter,
  type: ReturnType<typeof headType>,
): (values: Float32Array, shape: readonly number[]) => string {
  if (type === 'float32') return writer.floats;
  if (type === 'float64') return (values, shape) => writer.doubles(Float64Array.from(values), shape);
  return (values, shape) => {
    if (values.some((value) => Math.abs(value) > largestHalf)) {
      throw new KdSpecError(
        'option-invalid',
        `the model has weights in float16, and the new layer has some beyond ${largestHalf}: export the model in ` +
          'float32 and import it again, or take another rival',
      );
    }
    return writer.halves(Uint16Array.from(values, numberToHalf), shape);
  };
}

/** The beginning of names that nothing in a graph has: a layer that was written before may be replaced again. */
export function freshPrefix(graph: GraphProto): string {
  const names = new Set([
    ...graph.node.flatMap(({ name, output }) => [name, ...output]),
    ...graph.initializer.map(({ name }) => name),
  ]);
  for (let time = 1; ; time++) {
    const prefix = time === 1 ? writtenHeadPrefix : `${writtenHeadPrefix}${time}_`;
    if (![...names].some((name) => name.startsWith(prefix))) return prefix;
  }
}

/** Moves new nodes, which stand last, to where a value that they take is known: nodes stand in the order they run. */
export function placeBehind(graph: GraphProto, value: string, added: readonly NodeProto[]): void {
  const others = graph.node.slice(0, graph.node.length - added.length);
  const at = others.findIndex(({ output }) => output.includes(value)) + 1;
  graph.node = [...others.slice(0, at), ...added, ...others.slice(at)];
}

/** Removes the node that makes a value, and then those that made its inputs alone, with their constants. */
function removeFrom(graph: GraphProto, value: string): void {
  const isUsed = (name: string) =>
    graph.node.some(({ input }) => input.includes(name)) ||
    graph.output.some((output) => output.name === name);
  const stack = [value];
  for (let name = stack.pop(); name !== undefined; name = stack.pop()) {
    if (isUsed(name)) continue;
    const made = graph.node.find(({ output }) => output.includes(name ?? ''));
    if (made === undefined) {
      const gone = name;
      const isConstant = graph.initializer.some((tensor) => tensor.name === gone);
      if (!isConstant) continue;
      graph.initializer = graph.initializer.filter((tensor) => tensor.name !== gone);
      graph.input = graph.input.filter((input) => input.name !== gone);
    } else if (!made.output.some(isUsed)) {
      graph.node = graph.node.filter((node) => node !== made);
      stack.push(...made.input);
    }
  }
}
