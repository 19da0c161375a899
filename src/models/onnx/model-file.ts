import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { fromBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { entryKind, foreignKind } from '../../core/file-kind.js';

/** An ONNX model as data: its graph, what a walk through it needs, and what its makers wrote beside it. */
export interface OnnxModel {
  readonly path: string;
  readonly proto: ModelProto;
  readonly graph: GraphProto;
  /** Of the default operator set. */
  readonly opset: number;
  readonly metadata: ReadonlyMap<string, string>;
  /** The node that makes a value, by the value's name. */
  readonly producers: ReadonlyMap<string, NodeProto>;
  /** The nodes that take a value, by the value's name. */
  readonly consumers: ReadonlyMap<string, readonly NodeProto[]>;
  readonly initializers: ReadonlyMap<string, TensorProto>;
  /** The values that are the same for every image: stored, or computed from stored ones alone. */
  readonly constants: ReadonlySet<string>;
  /** The inputs that a caller has to feed: old models list their weights among the inputs, too. */
  readonly inputs: readonly ValueInfoProto[];
  /** Bytes of the file, without external data. */
  readonly bytes: number;
}

/**
 * Metadata of a model that kd-spec exported: the output with the fused distribution, the names of its classes, how its
 * images are fed, and what the ensemble is made of.
 */
export const fusedOutputKey = 'kd_spec_output';
export const fusedNamesKey = 'kd_spec_names';
export const inputKey = 'kd_spec_input';
export const ensembleKey = 'kd_spec_ensemble';

/**
 * Weights of a model in one piece, its external data inside: protocol buffers end at 2 GB, and what stands beside the
 * weights is far less than the margin.
 */
const mostBytes = 2 ** 31 - 2 ** 24;

/**
 * Reads the graph of an ONNX model; external data are read when a constant is.
 *
 * @param path of an `.onnx` file
 * @throws KdSpecError `not-found`, `not-readable`, or `checkpoint-invalid` when it is not an ONNX model
 *
 * Cost: the file is held in memory; 21 MB are decoded in 0.14 s.
 */
export async function readOnnxModel(path: string): Promise<OnnxModel> {
  return decodeOnnxModel(path, await readModelBytes(path));
}

/**
 * The graph of an ONNX model whose bytes are at hand.
 *
 * @param path of its file, for messages and external data
 * @param options.anySize whether it may have over 2 GB, as it does not have to run in one piece
 * @throws KdSpecError `checkpoint-invalid` when it is not an ONNX model
 */
export function decodeOnnxModel(
  path: string,
  bytes: Uint8Array,
  { anySize = false }: { readonly anySize?: boolean } = {},
): OnnxModel {
  return decodedModel(path, decode(path, bytes), bytes.length, { anySize });
}

/**
 * The same of a model that is decoded.
 *
 * @param bytes of its file
 * @throws KdSpecError `checkpoint-invalid` when there is no graph in it
 */
export function decodedModel(
  path: string,
  proto: ModelProto,
  bytes: number,
  { anySize = false }: { readonly anySize?: boolean } = {},
): OnnxModel {
  const { graph } = proto;
  if (graph === undefined || graph.output.length === 0) {
    throw invalid(path, 'expected an ONNX model, found no graph in it: export the model again');
  }
  if (!anySize) expectSize(path, bytesOfWeights(graph));
  const initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const producers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const consumers = new Map<string, NodeProto[]>();
  for (const node of graph.node) {
    for (const name of node.input) {
      const known = consumers.get(name);
      if (known) known.push(node);
      else consumers.set(name, [node]);
    }
  }
  const standard = proto.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  return {
    path,
    proto,
    graph,
    opset: Number(standard?.version ?? 1),
    metadata: new Map(proto.metadataProps.map(({ key, value }) => [key, value])),
    producers,
    consumers,
    initializers,
    constants: constantValues(graph, consumers),
    inputs: graph.input.filter(({ name }) => !initializers.has(name)),
    bytes,
  };
}

/** Operators that draw random numbers: what they make is no constant, though it depends on no input. */
export const randomOperators = /^(Random|Multinomial$|Bernoulli$)/;

/** The values of a graph that depend on none of its inputs, from the stored ones on. */
function constantValues(
  { node, initializer }: GraphProto,
  consumers: ReadonlyMap<string, readonly NodeProto[]>,
): ReadonlySet<string> {
  const constants = new Set<string>();
  const open = initializer.map(({ name }) => name);
  const missing = new Map<NodeProto, number>(); // inputs that are not known to be constant
  for (const one of node) {
    const { opType, input, attribute } = one;
    // The branches of an If and the body of a Loop use values of the graph around them without naming them as inputs.
    const hasBody = attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0);
    if (hasBody || randomOperators.test(opType)) continue;
    const inputs = input.filter((name) => name !== '').length;
    missing.set(one, inputs);
    if (inputs === 0) open.push(...one.output);
  }
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === '' || constants.has(name)) continue;
    constants.add(name);
    for (const consumer of consumers.get(name) ?? []) {
      const left = (missing.get(consumer) ?? Number.NaN) - 1;
      missing.set(consumer, left);
      if (left === 0) open.push(...consumer.output);
    }
  }
  return constants;
}

/**
 * Refuses what is no regular file before it is read: a pipe would be waited for.
 *
 * @throws KdSpecError `checkpoint-invalid`, `not-found` or `not-readable`
 */
export async function expectModelFile(path: string): Promise<Stats> {
  const info = await stat(path).catch((error: unknown) => {
    throw asFileError(error, path, 'an ONNX model');
  });
  const kind = entryKind(info);
  if (kind === undefined) return info;
  const advice = info.isDirectory() ? await modelsIn(path) : 'name a regular file (.onnx)';
  throw invalid(path, `expected an ONNX model, found ${kind}: ${advice}`);
}

/**
 * The bytes of a model's file, at most 2 GB of them.
 *
 * @throws KdSpecError `not-found`, `not-readable`, or `checkpoint-invalid` for what is no regular file, or is larger
 */
export async function readModelBytes(path: string): Promise<Uint8Array> {
  try {
    const { size } = await expectModelFile(path);
    expectSize(path, size);
    return await readFile(path);
  } catch (error) {
    throw asFileError(error, path, 'an ONNX model');
  }
}

/** What to name in place of a folder. */
async function modelsIn(folder: string): Promise<string> {
  const models = (await readdir(folder)).filter((name) => name.toLowerCase().endsWith('.onnx')).sort();
  if (models.length === 0) return 'no .onnx file lies in it';
  return `name the file in it (${models.slice(0, 3).join(', ')}${models.length > 3 ? ', ...' : ''})`;
}

/** Bytes of the weights of a graph, those in files beside it included. */
function bytesOfWeights({ initializer }: GraphProto): number {
  return initializer.reduce((sum, { rawData, externalData }) => {
    const length = externalData.find(({ key }) => key === 'length')?.value;
    return sum + rawData.length + (Number(length ?? 0) || 0); // no number: refused where it is read
  }, 0);
}

/** Whether a graph has more weights than a model in one piece holds. */
export const isLarge = (graph: GraphProto): boolean => bytesOfWeights(graph) > mostBytes;

/** @throws KdSpecError `checkpoint-invalid` for a model that cannot run in one piece */
export function expectSize(path: string, bytes: number): void {
  if (bytes <= mostBytes) return;
  throw invalid(
    path,
    `expected at most 2 GB, with its external data, found ${(bytes / 2 ** 30).toFixed(1)} GB: kd-spec runs no larger model; ` +
      'store its weights in float16',
  );
}

function decode(path: string, bytes: Uint8Array): ModelProto {
  const start = Buffer.from(bytes.subarray(0, 2)).toString('latin1');
  const kind =
    start === 'PK'
      ? 'it begins like a zip archive, as PyTorch saves them: export it with torch.onnx.export'
      : foreignKind(bytes);
  if (kind !== undefined) throw invalid(path, `expected an ONNX model, but ${kind}`);
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw invalid(path, 'expected an ONNX model, but it cannot be decoded: copy or export it again', cause);
  }
}

/** The error of a model that cannot serve. */
export function invalid(path: string, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError('checkpoint-invalid', `${path}: ${what}`, { cause });
}

/** A node, for a person. */
export const nodeLabel = ({ opType, name }: NodeProto): string => `the ${opType}${name ? ` "${name}"` : ''}`;

/** The value that a Dropout takes, and the one before that takes: a Dropout that does not train changes nothing. */
export function beforeDropouts({ producers }: Pick<OnnxModel, 'producers'>, name: string): string {
  let at = name;
  for (let node = producers.get(at); node?.opType === 'Dropout'; node = producers.get(at)) {
    if (node.output[0] !== at || node.input[0] === at) break;
    at = node.input[0];
  }
  return at;
}

/** Operators that keep every number as it is, in its place. */
export const shapeOperators: ReadonlySet<string> = new Set([
  'Identity',
  'Reshape',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'Dropout',
]);

/**
 * A value with the same numbers in the same order, before its shape was changed.
 *
 * A model in half precision runs in single precision on most processors, and ONNX Runtime rounds only where somebody looks.
 * Where a change of shape stands between what is read here and what the model's own head takes, it rounds that, too, and
 * the model's own outputs are others than they were.
 */
export function beforeShapes({ producers }: Pick<OnnxModel, 'producers'>, name: string): string {
  let at = name;
  for (let node = producers.get(at); node; node = producers.get(at)) {
    if (!shapeOperators.has(node.opType) || node.output[0] !== at || node.input[0] === at) break;
    at = node.input[0];
  }
  return at;
}

/** An attribute of a node that is a list of integers; undefined where it is absent. */
export function integersAttribute(node: NodeProto, name: string): readonly number[] | undefined {
  const attribute = node.attribute.find((one) => one.name === name);
  return attribute?.type === AttributeProto_AttributeType.INTS ? attribute.ints.map(Number) : undefined;
}

/** The number of the type of an input or output as declared; 0 for none. */
export function declaredType({ type }: ValueInfoProto): number {
  return type?.value.case === 'tensorType' ? type.value.value.elemType : 0;
}

/** The extents of an input or output as declared; undefined for those that are free. */
export function declaredExtents(
  info: ValueInfoProto | undefined,
): readonly (number | undefined)[] | undefined {
  const type = info?.type?.value;
  if (type?.case !== 'tensorType') return undefined;
  return type.value.shape?.dim.map(({ value }) =>
    value.case === 'dimValue' && value.value > 0n ? Number(value.value) : undefined,
  );
}

/** What an output of a classifier holds; `scores` are independent of each other (a sigmoid each). */
export type OutputHolds = 'logits' | 'log-probabilities' | 'probabilities' | 'scores';

/** Operators that pass the classes on, in their order. */
export const transparent: ReadonlySet<string> = new Set([
  'Identity',
  'Cast',
  'Reshape',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'Dropout',
  'DequantizeLinear',
  'QuantizeLinear',
]);
export const endings: Readonly<Record<string, OutputHolds>> = {
  Softmax: 'probabilities',
  LogSoftmax: 'log-probabilities',
  Sigmoid: 'scores',
  QLinearSoftmax: 'probabilities',
  QLinearSigmoid: 'scores',
};
/**
 * What an output of a classifier holds, read from the operators that make it, so that nobody has to guess it from
 * values: a softmax that was rounded to 8 bits sums to 1 as little as logits do.
 */
export function outputHolds(model: OnnxModel, output: string): OutputHolds {
  let at = output;
  for (;;) {
    const node = model.producers.get(at);
    if (node === undefined) return 'logits';
    const ending = endings[node.opType];
    if (ending !== undefined) return ending;
    if (!transparent.has(node.opType) && node.opType !== 'Transpose') return 'logits';
    at = node.input[0];
  }
}
