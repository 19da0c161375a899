import { create, toBinary } from '@bufbuild/protobuf';
import { GraphProtoSchema, ModelProtoSchema, type NodeProto, NodeProtoSchema } from 'onnx-buf';
import { constantOf, integerAttribute } from './constants.js';
import { copyOf } from './graph-writer.js';
import { beforeDropouts, decodedModel, integersAttribute, nodeLabel, type OnnxModel } from './model-file.js';

// A last layer that is applied at every place of an image, and whose logits are averaged afterwards, as SqueezeNet has
// it. Both are linear, so that the mean may as well be taken first: mean(x W + b) = mean(x) W + b.

/** Whether a node may be such a mean; of which product, `poolProblem` decides. */
export const isPool = ({ opType }: NodeProto): boolean =>
  opType === 'GlobalAveragePool' || opType === 'AveragePool' || opType === 'ReduceMean';

/** Whether the mean of a product keeps its axes. */
export const keepsAxes = (pool: NodeProto): boolean =>
  pool.opType !== 'ReduceMean' || integerAttribute(pool, 'keepdims', 1) === 1;

/**
 * Why a mean of a product is not the product of a mean, for a person.
 *
 * @param constants what is added to the product, or multiplied with it, before the mean
 * @returns undefined where it is
 */
export async function poolProblem(
  model: OnnxModel,
  pool: NodeProto,
  product: NodeProto,
  constants: readonly string[],
): Promise<string | undefined> {
  const isConvolution = product.opType === 'Conv';
  if (!isConvolution && product.opType !== 'MatMul')
    return `a mean over places of ${nodeLabel(product)} is not read`;
  const kernel = await shapeOf(model, product.input[1]);
  const isOfPlaces = isConvolution
    ? kernel?.slice(2).every((extent) => extent === 1) && integerAttribute(product, 'group', 1) === 1
    : kernel?.length === 2;
  if (kernel === undefined || !isOfPlaces)
    return `${nodeLabel(product)} is no product of each place by itself with constant weights`;
  const hasPads = (node: NodeProto) => (integersAttribute(node, 'pads') ?? []).some((pad) => pad !== 0);
  if (isConvolution && hasPads(product))
    return `${nodeLabel(product)} adds a border to the image, which is in the mean`;
  if (isConvolution && (integersAttribute(product, 'strides') ?? []).some((stride) => stride !== 1))
    return `${nodeLabel(product)} leaves out places, which are not in the mean`;
  for (const name of constants) {
    const shape = await shapeOf(model, name);
    const labelAxis = isConvolution ? (shape?.length ?? 0) + 1 - kernel.length : (shape?.length ?? 0) - 1;
    const isOfClasses =
      shape?.every((extent, axis) => extent === 1 || axis === labelAxis) &&
      (!isConvolution || shape.length <= kernel.length);
    if (!isOfClasses)
      return `the constant "${name}" before the mean over places has other values at each of them`;
  }
  if (pool.opType === 'ReduceMean') {
    const given = pool.input[1] ? await constantOf(model, pool.input[1]) : undefined;
    const axes = given ? Array.from(given.values) : (integersAttribute(pool, 'axes') ?? []);
    const places = isConvolution ? [2, 3, -1, -2] : [1, -2, -3]; // 2 may be the classes
    if (axes.length > 0 && axes.every((axis) => places.includes(axis))) return undefined;
  } else if (isConvolution) {
    const isWithBorder = hasPads(pool) && integerAttribute(pool, 'count_include_pad', 0) !== 0;
    return isWithBorder ? `${nodeLabel(pool)} counts a border around the image` : undefined;
  }
  return `${nodeLabel(pool)} is no mean over the places of ${nodeLabel(product)}`;
}

/** Of a constant; undefined where it is none. */
async function shapeOf(model: OnnxModel, name: string): Promise<readonly number[] | undefined> {
  return model.initializers.get(name)?.dims.map(Number) ?? (await constantOf(model, name))?.shape;
}

/** The value that holds the mean of what a product takes; undefined where the graph has none. */
export function meanFeatures(model: OnnxModel, pool: NodeProto, product: NodeProto): string | undefined {
  const wanted = meanBeside(model, pool, product);
  const operation = operationOf(wanted);
  return model.consumers
    .get(wanted.input[0])
    ?.find((node) => node.opType === pool.opType && operationOf(node) === operation)?.output[0];
}

/** The mean of what a product takes, as a text: the same where the value is the same. */
export const meanAsText = (model: OnnxModel, pool: NodeProto, product: NodeProto): string =>
  operationOf(meanBeside(model, pool, product));

/** What a node computes, and of what, with all attributes. */
const operationOf = (node: NodeProto) =>
  String(toBinary(NodeProtoSchema, Object.assign(copyOf(node, { output: [] }), { name: '', docString: '' })));

/** A model in which the mean of what a product takes exists: a node more beside its pool, which no output needs. */
export function withMeanFeatures(model: OnnxModel, pool: NodeProto, product: NodeProto): OnnxModel {
  if (meanFeatures(model, pool, product) !== undefined) return model;
  const beside = meanBeside(model, pool, product);
  const taken = new Set([
    ...model.graph.node.flatMap(({ output }) => output),
    ...model.graph.initializer.map(({ name }) => name),
  ]);
  let name = `${beside.input[0]}_mean`;
  while (taken.has(name)) name += '_';
  const node = model.graph.node.toSpliced(
    model.graph.node.indexOf(pool),
    0,
    copyOf(beside, { output: [name] }),
  );
  const graph = create(GraphProtoSchema, { ...model.graph, node });
  return decodedModel(model.path, create(ModelProtoSchema, { ...model.proto, graph }), model.bytes);
}

/** The same mean of what the product takes, without a name for what it makes. */
function meanBeside(model: OnnxModel, pool: NodeProto, product: NodeProto): NodeProto {
  const features = beforeDropouts(model, product.input[0]);
  const beside = copyOf(pool, { input: [features, ...pool.input.slice(1)], output: [] });
  return Object.assign(beside, { name: '', docString: '' });
}
