import { open } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { assert } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { halfToNumber } from '../../math/half.js';
import { expectSize, integersAttribute, invalid, type OnnxModel } from './model-file.js';
import { openSession } from './runtime.js';

/** Numbers with their shape, copied out of a model. */
export interface ConstantTensor {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

/** Values of a constant that are copied to JavaScript: the head of a million classes on 1,024 features. */
const mostValues = 2 ** 30;

/** An attribute of a node that is an integer. */
export function integerAttribute(node: NodeProto, name: string, otherwise: number): number {
  const attribute = node.attribute.find((one) => one.name === name);
  return attribute?.type === AttributeProto_AttributeType.INT ? Number(attribute.i) : otherwise;
}

/** An attribute of a node that is a real number. */
export function floatAttribute(node: NodeProto, name: string, otherwise: number): number {
  const attribute = node.attribute.find((one) => one.name === name);
  return attribute?.type === AttributeProto_AttributeType.FLOAT ? attribute.f : otherwise;
}

/**
 * A constant of the graph as numbers: stored, or computed from stored ones. What stands between a weight and the product
 * that uses it in most files is computed here, in double precision; anything else, such as the normalised weights of a
 * cosine head, by ONNX Runtime.
 *
 * @returns undefined where the value depends on the input
 * @throws KdSpecError `checkpoint-invalid` when it is damaged, too large, or its external data cannot be read
 */
export async function constantOf(model: OnnxModel, name: string): Promise<ConstantTensor | undefined> {
  if (!model.constants.has(name)) return undefined;
  const stored = model.initializers.get(name);
  if (stored) return readTensor(model, stored);
  const node = model.producers.get(name);
  assert(node !== undefined, 'a constant is stored or made');
  if (node.opType === 'Constant') return (await constantNode(model, node)) ?? computed(model, name);
  const isInBlocks = integerAttribute(node, 'block_size', 0) !== 0;
  if (!foldable.has(node.opType) || isInBlocks) return computed(model, name);
  const inputs: ConstantTensor[] = [];
  for (const input of node.input) {
    const value = input === '' ? undefined : await constantOf(model, input);
    if (value) inputs.push(value);
  }
  const [data, ...others] = inputs;
  if (data === undefined) return undefined;
  switch (node.opType) {
    case 'Transpose':
      return transpose(data, integersAttribute(node, 'perm') ?? [...data.shape.keys()].reverse());
    case 'Reshape':
      return { shape: resolveShape(model, node, data, others[0]), values: data.values };
    case 'Flatten': {
      const axis = integerAttribute(node, 'axis', 1);
      const rows = product(data.shape.slice(0, axis < 0 ? axis + data.shape.length : axis));
      return { shape: [rows, rows === 0 ? 0 : data.values.length / rows], values: data.values };
    }
    case 'Squeeze': {
      const axes = others[0] ? Array.from(others[0].values) : integersAttribute(node, 'axes');
      const rank = data.shape.length;
      const gone = new Set((axes ?? []).map((axis) => (axis < 0 ? axis + rank : axis)));
      const shape = data.shape.filter((extent, at) => (axes ? !gone.has(at) : extent !== 1));
      return { shape, values: data.values };
    }
    case 'Unsqueeze': {
      const axes = others[0] ? Array.from(others[0].values) : (integersAttribute(node, 'axes') ?? []);
      const shape = [...data.shape];
      const rank = shape.length + axes.length;
      for (const axis of axes.map((a) => (a < 0 ? a + rank : a)).sort((a, b) => a - b))
        shape.splice(axis, 0, 1);
      return { shape, values: data.values };
    }
    case 'DequantizeLinear':
      return dequantize(model, node, data, others);
    default:
      return data; // Identity, Cast
  }
}

/** What stands between a stored weight and the product that uses it, as exporters and quantisers write it. */
const foldable: ReadonlySet<string> = new Set([
  'Identity',
  'Cast',
  'Transpose',
  'Reshape',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'DequantizeLinear',
]);

/** A constant as ONNX Runtime computes it, from the part of the graph that makes it. */
async function computed(model: OnnxModel, name: string): Promise<ConstantTensor> {
  const needed = new Set([name]);
  const nodes = new Set<NodeProto>();
  for (const value of needed) {
    const node = model.producers.get(value);
    if (node === undefined) continue;
    nodes.add(node);
    for (const input of node.input) needed.add(input);
  }
  const output = 'kd_spec_constant';
  const toFloat = create(AttributeProtoSchema, {
    name: 'to',
    type: AttributeProto_AttributeType.INT,
    i: BigInt(TensorProto_DataType.FLOAT),
  });
  const cast = create(NodeProtoSchema, {
    opType: 'Cast',
    input: [name],
    output: [output],
    attribute: [toFloat],
  });
  const part = create(GraphProtoSchema, {
    name: output,
    node: [...model.graph.node.filter((node) => nodes.has(node)), cast],
    initializer: model.graph.initializer.filter((tensor) => needed.has(tensor.name)),
    output: [create(ValueInfoProtoSchema, { name: output })],
  });
  const session = await openSession(await wholeModel(model, part), { name: model.path });
  try {
    const result = (await session.run({}, [output])).get(output);
    assert(result !== undefined, 'the session returns what was named');
    return { shape: result.shape, values: Float64Array.from(result.values) };
  } finally {
    session.dispose();
  }
}

async function constantNode(model: OnnxModel, node: NodeProto): Promise<ConstantTensor | undefined> {
  for (const attribute of node.attribute) {
    if (attribute.name === 'value' && attribute.t) return readTensor(model, attribute.t);
    if (attribute.name === 'value_float') return { shape: [], values: Float64Array.of(attribute.f) };
    if (attribute.name === 'value_int') return { shape: [], values: Float64Array.of(Number(attribute.i)) };
    if (attribute.name === 'value_floats')
      return { shape: [attribute.floats.length], values: Float64Array.from(attribute.floats) };
    if (attribute.name === 'value_ints')
      return { shape: [attribute.ints.length], values: Float64Array.from(attribute.ints, Number) };
  }
  return undefined;
}

function resolveShape(
  model: OnnxModel,
  node: NodeProto,
  data: ConstantTensor,
  wanted: ConstantTensor | undefined,
): readonly number[] {
  if (wanted === undefined)
    throw invalid(model.path, `node ${node.name || node.opType}: a Reshape without a shape`);
  const shape = Array.from(wanted.values, (extent, at) => (extent === 0 ? (data.shape[at] ?? 0) : extent));
  const known = product(shape.filter((extent) => extent !== -1));
  const resolved = shape.map((extent) => (extent === -1 ? data.values.length / Math.max(known, 1) : extent));
  if (product(resolved) !== data.values.length) {
    throw invalid(
      model.path,
      `node ${node.name || node.opType}: ${data.values.length} values cannot have the shape [${resolved.join(', ')}]`,
    );
  }
  return resolved;
}

function transpose({ shape, values }: ConstantTensor, permutation: readonly number[]): ConstantTensor {
  const rank = shape.length;
  const strides = shape.map((_, axis) => product(shape.slice(axis + 1)));
  const to = permutation.map((axis) => shape[axis] ?? 1);
  const steps = permutation.map((axis) => strides[axis] ?? 0);
  const out = new Float64Array(values.length);
  const place = new Array<number>(rank).fill(0);
  let source = 0;
  for (let target = 0; target < out.length; target++) {
    out[target] = values[source];
    for (let axis = rank - 1; axis >= 0; axis--) {
      place[axis]++;
      source += steps[axis];
      if (place[axis] < to[axis]) break;
      source -= steps[axis] * to[axis];
      place[axis] = 0;
    }
  }
  return { shape: to, values: out };
}

/** `(x - zero point) * scale`, with one scale, or one along an axis. */
function dequantize(
  model: OnnxModel,
  node: NodeProto,
  data: ConstantTensor,
  [scale, zeroPoint]: readonly ConstantTensor[],
): ConstantTensor {
  if (scale === undefined) throw invalid(model.path, `node ${node.name || node.opType}: no scale`);
  const count = scale.values.length;
  const axis = integerAttribute(node, 'axis', 1);
  const at = axis < 0 ? axis + data.shape.length : axis;
  const inner = product(data.shape.slice(at + 1));
  if (count !== 1 && count !== data.shape[at]) {
    throw invalid(
      model.path,
      `node ${node.name || node.opType}: ${count} scales for an axis of ${data.shape[at]}: export the model again`,
    );
  }
  const values = new Float64Array(data.values.length);
  for (let i = 0; i < values.length; i++) {
    const channel = count === 1 ? 0 : Math.floor(i / inner) % count;
    const zero = zeroPoint ? zeroPoint.values[zeroPoint.values.length === 1 ? 0 : channel] : 0;
    values[i] = (data.values[i] - zero) * scale.values[channel];
  }
  return { shape: data.shape, values };
}

/** How the raw bytes of each type are read; numbers too large for a double's 53 bits are no weights. */
const readers: Partial<
  Record<number, { readonly bytes: number; readonly at: (view: DataView, offset: number) => number }>
> = {
  [TensorProto_DataType.FLOAT]: { bytes: 4, at: (view, offset) => view.getFloat32(offset, true) },
  [TensorProto_DataType.DOUBLE]: { bytes: 8, at: (view, offset) => view.getFloat64(offset, true) },
  [TensorProto_DataType.FLOAT16]: {
    bytes: 2,
    at: (view, offset) => halfToNumber(view.getUint16(offset, true)),
  },
  [TensorProto_DataType.BFLOAT16]: {
    bytes: 2,
    at: (view, offset) => brainToNumber(view.getUint16(offset, true)),
  },
  [TensorProto_DataType.INT8]: { bytes: 1, at: (view, offset) => view.getInt8(offset) },
  [TensorProto_DataType.UINT8]: { bytes: 1, at: (view, offset) => view.getUint8(offset) },
  [TensorProto_DataType.BOOL]: { bytes: 1, at: (view, offset) => view.getUint8(offset) },
  [TensorProto_DataType.INT16]: { bytes: 2, at: (view, offset) => view.getInt16(offset, true) },
  [TensorProto_DataType.UINT16]: { bytes: 2, at: (view, offset) => view.getUint16(offset, true) },
  [TensorProto_DataType.INT32]: { bytes: 4, at: (view, offset) => view.getInt32(offset, true) },
  [TensorProto_DataType.UINT32]: { bytes: 4, at: (view, offset) => view.getUint32(offset, true) },
  [TensorProto_DataType.INT64]: { bytes: 8, at: (view, offset) => Number(view.getBigInt64(offset, true)) },
  [TensorProto_DataType.UINT64]: { bytes: 8, at: (view, offset) => Number(view.getBigUint64(offset, true)) },
};

async function readTensor(model: OnnxModel, tensor: TensorProto): Promise<ConstantTensor> {
  const shape = tensor.dims.map(Number);
  const count = product(shape);
  const what = `tensor "${tensor.name}"`;
  if (!(count >= 0 && count <= mostValues))
    throw invalid(model.path, `${what} has the shape [${shape.join(', ')}]`);
  const wrong = (found: number) =>
    invalid(
      model.path,
      `${what} of shape [${shape.join(', ')}] needs ${count} values, found ${found}: copy the file again`,
    );

  const isExternal = tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
  if (!isExternal && tensor.rawData.length === 0) {
    const listed = listedValues(tensor);
    if (listed.length !== count) throw wrong(listed.length);
    return { shape, values: listed };
  }
  const reader = readers[tensor.dataType];
  if (reader === undefined) {
    throw invalid(
      model.path,
      `${what} is of type ${TensorProto_DataType[tensor.dataType] ?? tensor.dataType}, which is not read: export the ` +
        'model in float32 or float16, or quantised to 8 bits',
    );
  }
  const raw = isExternal ? await externalData(model, tensor, count * reader.bytes) : tensor.rawData;
  if (raw.length !== count * reader.bytes) throw wrong(Math.floor(raw.length / reader.bytes));
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = reader.at(view, i * reader.bytes);
  return { shape, values };
}

/** The values of a tensor that stand in typed lists instead of raw bytes. */
function listedValues(tensor: TensorProto): Float64Array {
  const { dataType, floatData, doubleData, int32Data, int64Data, uint64Data } = tensor;
  if (floatData.length > 0) return Float64Array.from(floatData);
  if (doubleData.length > 0) return Float64Array.from(doubleData);
  if (int64Data.length > 0) return Float64Array.from(int64Data, Number);
  if (uint64Data.length > 0) return Float64Array.from(uint64Data, Number);
  if (dataType === TensorProto_DataType.FLOAT16) return Float64Array.from(int32Data, halfToNumber);
  if (dataType === TensorProto_DataType.BFLOAT16) return Float64Array.from(int32Data, brainToNumber);
  return Float64Array.from(int32Data);
}

/** Bytes of one value of a type, for those that are not read as numbers but may be carried. */
const otherBytes: Partial<Record<number, number>> = {
  [TensorProto_DataType.COMPLEX64]: 8,
  [TensorProto_DataType.COMPLEX128]: 16,
};

/**
 * A model as one file, with the external data inside that belong to its graph.
 *
 * @param graph instead of the model's own
 * @throws KdSpecError `checkpoint-invalid`, and `not-found` when a file of data is missing
 */
export async function wholeModel(model: OnnxModel, graph: GraphProto = model.graph): Promise<Uint8Array> {
  return toBinary(ModelProtoSchema, await withData(model, graph, { inOnePiece: true }));
}

/**
 * A model with the external data inside that belong to its graph.
 *
 * @param options.inOnePiece whether it has to have less than 2 GB
 * @throws as {@link wholeModel}
 */
export async function withData(
  model: OnnxModel,
  graph: GraphProto,
  { inOnePiece = false }: { readonly inOnePiece?: boolean } = {},
): Promise<ModelProto> {
  const initializer: TensorProto[] = [];
  let total = 0;
  for (const tensor of graph.initializer) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) {
      initializer.push(tensor);
      continue;
    }
    const count = product(tensor.dims.map(Number));
    const bytes = readers[tensor.dataType]?.bytes ?? otherBytes[tensor.dataType];
    if (bytes === undefined) {
      throw invalid(
        model.path,
        `tensor "${tensor.name}" has external data of type ${TensorProto_DataType[tensor.dataType]}, which is not read`,
      );
    }
    total += count * bytes;
    if (inOnePiece) expectSize(model.path, total); // several tensors may lie in one place of a file
    const rawData = await externalData(model, tensor, count * bytes);
    initializer.push(
      create(TensorProtoSchema, {
        ...tensor,
        rawData,
        externalData: [],
        dataLocation: TensorProto_DataLocation.DEFAULT,
      }),
    );
  }
  return create(ModelProtoSchema, {
    ...model.proto,
    graph: create(GraphProtoSchema, { ...graph, initializer }),
  });
}

/**
 * Makes sure that the external data of a model lie in its folder, for a runtime that reads them itself.
 *
 * @throws KdSpecError `checkpoint-invalid`
 */
export function expectDataInFolder(model: OnnxModel): void {
  for (const tensor of model.graph.initializer)
    if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL) externalPath(model, tensor);
}

const entriesOf = ({ externalData }: TensorProto) =>
  new Map(externalData.map(({ key, value }) => [key, value]));

/** The file beside a model that holds a tensor, which must not lie outside its folder. */
function externalPath(model: OnnxModel, tensor: TensorProto): string {
  const folder = dirname(model.path);
  const entries = entriesOf(tensor);
  const location = entries.get('location') ?? '';
  const path = join(folder, location);
  const inside = relative(folder, path);
  if (location === '' || location.includes('\0') || isAbsolute(location) || inside.startsWith('..')) {
    throw invalid(
      model.path,
      `tensor "${tensor.name}" has its data in "${location}", outside the model's folder: put the file beside the model`,
    );
  }
  return path;
}

/** The bytes of a tensor in a file beside the model. */
async function externalData(
  model: OnnxModel,
  tensor: TensorProto,
  expected: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = externalPath(model, tensor);
  const entries = entriesOf(tensor);
  const offset = Number(entries.get('offset') ?? 0);
  const length = Number(entries.get('length') ?? expected);
  const isPlace = [offset, expected].every((one) => Number.isSafeInteger(one) && one >= 0);
  if (!isPlace || length !== expected) {
    throw invalid(
      model.path,
      `tensor "${tensor.name}" needs ${expected} bytes of external data, the model names ${length} from ${offset} on`,
    );
  }
  try {
    await using file = await open(path);
    // What a model says of its size is believed once the file has it.
    const bytes = new Uint8Array(Math.min(length, Math.max(0, (await file.stat()).size - offset)));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
    if (bytesRead === length) return bytes;
    throw invalid(model.path, `${path} ends before the data of tensor "${tensor.name}": copy it again`);
  } catch (error) {
    throw asFileError(error, path, 'the external data of the model');
  }
}

function brainToNumber(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(2, bits, true);
  return view.getFloat32(0, true);
}

function product(extents: readonly number[]): number {
  return extents.reduce((all, extent) => all * extent, 1);
}
