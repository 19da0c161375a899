import { create, toBinary } from '@bufbuild/protobuf';
import { GraphProtoSchema, ModelProtoSchema, type NodeProto, NodeProtoSchema } from 'onnx-buf';
import { constantOf, integerAttribute } from './constants.js';
import { copyOf } from './graph-writer.js';
import {
  beforeDropouts,
  declaredExtents,
  decodedModel,
  integersAttribute,
  nodeLabel,
  type OnnxModel,
} from './model-file.js';

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
  const rank = isConvolution ? kernel.length : await rankOf(model, product.output[0]);
  if (rank === undefined)
    return (
      `whether ${nodeLabel(pool)} is a mean over places is not known, since the file does not tell how many axes ` +
      `${nodeLabel(product)} makes: write the shapes into it with onnx.shape_inference.infer_shapes(model)`
    );
  const classAxis = isConvolution ? 1 : rank - 1;
  for (const name of constants) {
    const shape = await shapeOf(model, name);
    const missing = rank - (shape?.length ?? 0); // axes in front, with an extent of 1
    if (missing < 0 || !shape?.every((extent, axis) => extent === 1 || missing + axis === classAxis))
      return `the constant "${name}" before the mean over places is not one number, or one of each class`;
  }
  if (pool.opType === 'ReduceMean') {
    const given = pool.input[1] ? await constantOf(model, pool.input[1]) : undefined;
    const axes = given ? Array.from(given.values) : (integersAttribute(pool, 'axes') ?? []);
    const isPlace = (axis: number) => axis > 0 && axis < rank && axis !== classAxis;
    if (axes.length > 0 && axes.every((axis) => isPlace(axis < 0 ? axis + rank : axis))) return undefined;
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

/** Operators that make as many axes as their first input has, or as any of them. */
const ofFirst =
  /^(Identity|Dropout|Cast|Relu|Gelu|Sigmoid|Tanh|Erf|Clip|Slice|Conv|(Max|Average|GlobalAverage)Pool|(Batch|Layer)Normalization)$/;
const ofAny = /^(Add|Sub|Mul|Div|MatMul|Concat)$/;

/** How many axes a value has, by its declaration or by what makes it; undefined where that does not tell. */
async function rankOf(
  model: OnnxModel,
  name: string,
  known = new Map<string, number | undefined>(),
): Promise<number | undefined> {
  if (known.has(name)) return known.get(name);
  known.set(name, undefined); // for a graph that runs in a circle
  const rank = await rankOfUnknown();
  known.set(name, rank);
  return rank;

  async function rankOfUnknown() {
    const { input, output, valueInfo } = model.graph;
    const declared = declaredExtents([...valueInfo, ...input, ...output].find((info) => info.name === name));
    if (declared && declared.length > 0) return declared.length;
    if (model.constants.has(name)) return (await shapeOf(model, name))?.length;
    const node = model.producers.get(name);
    if (node?.opType === 'Flatten') return 2;
    if (node?.opType === 'Transpose') return integersAttribute(node, 'perm')?.length;
    if (node?.opType === 'Reshape') return (await constantOf(model, node.input[1]))?.values.length;
    if (node === undefined || !(ofFirst.test(node.opType) || ofAny.test(node.opType))) return undefined;
    let most = 0;
    for (const one of ofFirst.test(node.opType) ? node.input.slice(0, 1) : node.input)
      most = Math.max(most, (await rankOf(model, one, known)) ?? Number.NaN);
    return Number.isNaN(most) ? undefined : most;
  }
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
