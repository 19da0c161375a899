import { create } from '@bufbuild/protobuf';
import { type GraphProto, GraphProtoSchema, type ModelProto, TensorProto_DataType } from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import { numberToHalf } from '../../math/half.js';
import { withData } from './constants.js';
import type { OnnxHead } from './find-head.js';
import { createGraphWriter, type GraphWriter, renameValue } from './graph-writer.js';
import type { OnnxModel } from './model-file.js';

/** A dense layer: `logits = features weights + bias`. */
export interface DenseHead {
  /** (width, classes) */
  readonly weights: Float32Array;
  /** (classes) */
  readonly bias: Float32Array;
}

const leastOpset = 7; // sums that broadcast
const prefix = 'kd_spec_head_';

/**
 * Writes another last layer into a foreign classifier. Its inputs, outputs, names and metadata stay as they are, and what
 * no output needs any longer is left out. The new weights have the type of the old ones; in place of quantised ones they
 * are float32.
 *
 * @param head where the old layer is: see `findHead`
 * @returns the model, its external data inside
 * @throws KdSpecError `option-invalid` where something else stands between the product and the logits
 */
export async function withHead(
  model: OnnxModel,
  head: OnnxHead,
  { weights, bias }: DenseHead,
): Promise<ModelProto> {
  const { product, logits, features, width, classes } = head;
  if (model.opset < leastOpset) {
    throw new KdSpecError(
      'option-invalid',
      `the model is of operator set ${model.opset}, and another head needs ${leastOpset}: convert it ` +
        '(onnx.version_converter.convert_version(model, 17) in Python) and import it again',
    );
  }
  if (head.isReshaped || product.opType === 'QLinearMatMul') {
    throw new KdSpecError(
      'option-invalid',
      `the logits "${logits}" are made of the product of the last layer by ${head.path.join(' <- ')}, in another shape or ` +
        'type, and kd-spec writes no other head there: take the specialists, or change the layer with the tools that ' +
        'the model was made with',
    );
  }
  const graph = create(GraphProtoSchema, {
    ...model.graph,
    node: [...model.graph.node],
    initializer: [...model.graph.initializer],
    input: [...model.graph.input],
  });
  const writer = createGraphWriter(graph, model.opset, { prefix });
  const store = storeAs(writer, weightsType(model, product.input[1], product.opType));
  const made =
    product.opType === 'Conv'
      ? writer.node('Conv', [
          features,
          store(turned(weights, width, classes), [classes, width, 1, 1]),
          store(bias, [classes]),
        ])
      : writer.add(
          writer.node('MatMul', [features, store(weights, [width, classes])]),
          store(bias, [classes]),
        );
  const before = `${prefix}before`;
  renameValue(graph, logits, before);
  writer.name(made, logits);
  placeBehind(graph, features, prefix);
  removeFrom(graph, before);
  return withData(model, graph);
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
  if (product === 'MatMulInteger') return TensorProto_DataType.FLOAT; // its features are float32, too
  const stored = model.initializers.get(name);
  if (stored) return stored.dataType;
  const node = model.producers.get(name);
  const attribute = (key: string) => node?.attribute.find((one) => one.name === key);
  if (node?.opType === 'Constant') return attribute('value')?.t?.dataType ?? TensorProto_DataType.FLOAT;
  if (node?.opType === 'Cast') return Number(attribute('to')?.i ?? TensorProto_DataType.FLOAT);
  const from = node?.input[node.opType === 'DequantizeLinear' ? 1 : 0];
  return from === undefined ? TensorProto_DataType.FLOAT : weightsType(model, from, product);
}

function storeAs(
  writer: GraphWriter,
  type: TensorProto_DataType,
): (values: Float32Array, shape: readonly number[]) => string {
  switch (type) {
    case TensorProto_DataType.FLOAT:
      return writer.floats;
    case TensorProto_DataType.DOUBLE:
      return (values, shape) => writer.doubles(Float64Array.from(values), shape);
    case TensorProto_DataType.FLOAT16:
      return (values, shape) => writer.halves(Uint16Array.from(values, numberToHalf), shape);
    default:
      throw new KdSpecError(
        'option-invalid',
        `the last layer has weights of type ${TensorProto_DataType[type]}, and kd-spec writes another head in float16, ` +
          'float32 and float64 only: take the specialists',
      );
  }
}

/** Moves the new nodes, which stand last, to where their features are known: nodes stand in the order they run. */
function placeBehind(graph: GraphProto, features: string, ours: string): void {
  const added = graph.node.filter(({ name }) => name.startsWith(ours));
  const others = graph.node.filter(({ name }) => !name.startsWith(ours));
  const at = others.findIndex(({ output }) => output.includes(features)) + 1;
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
