import { type Data, DataType, type RecordBatch } from 'apache-arrow';
import { KdSpecError } from '../core/errors.js';

/** Where a column stands, for messages. */
export interface ColumnPlace {
  readonly path: string;
  /** Row of the file at which the record batch begins. */
  readonly firstRow: number;
}

/** The data of a column of a record batch, or `undefined` when there is no column of that name. */
export function column(batch: RecordBatch, name: string): Data | undefined {
  const index = batch.schema.fields.findIndex((field) => field.name === name);
  return index < 0 ? undefined : batch.data.children[index];
}

/** A type in words, with what helps where the column is categorical. */
function describeType(type: DataType): string {
  return DataType.isDictionary(type)
    ? `${type}, a categorical (dictionary-encoded) column: write it as plain values`
    : String(type);
}

/**
 * Reads an integer column of any width as numbers.
 *
 * @param options.nullable gives null for a cell that is null, instead of refusing it
 * @returns the value at a position; null, and values beyond 2^53, throw `dataset-invalid` with file and row
 */
export function integers(data: Data, place: ColumnPlace): (position: number) => number;
export function integers(
  data: Data,
  place: ColumnPlace,
  options: { readonly nullable: boolean },
): (position: number) => number | null;
export function integers(
  data: Data,
  { path, firstRow }: ColumnPlace,
  { nullable = false }: { readonly nullable?: boolean } = {},
): (position: number) => number | null {
  const { type, values } = data;
  if (!DataType.isInt(type)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of integers, found ${describeType(type)}`,
    );
  }
  return (position) => {
    const isNull = data.nullCount > 0 && !data.getValid(position);
    if (isNull && nullable) return null;
    const value = isNull ? Number.NaN : Number(values[position]);
    if (Number.isSafeInteger(value)) return value;
    const found = isNull ? 'null' : String(values[position]);
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected an integer below 2^53 in row ${firstRow + position}, found ${found}: remove the row`,
    );
  };
}

/**
 * Reads a column of texts.
 *
 * @returns the text at a position, or null
 */
export function texts(data: Data, { path, firstRow }: ColumnPlace): (position: number) => string | null {
  const { type, values, valueOffsets } = data;
  const decoder = new TextDecoder();
  const outside = (position: number) =>
    new KdSpecError('shard-corrupt', `${path}: the text of row ${firstRow + position} lies outside it`);
  if (DataType.isUtf8View(type)) {
    return (position) => {
      if (data.nullCount > 0 && !data.getValid(position)) return null;
      const bytes = viewedBytes(values, data.variadicBuffers, position);
      if (bytes === undefined) throw outside(position);
      return decoder.decode(bytes);
    };
  }
  if (!DataType.isUtf8(type) && !DataType.isLargeUtf8(type)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of texts, found ${describeType(type)}`,
    );
  }
  return (position) => {
    if (data.nullCount > 0 && !data.getValid(position)) return null;
    const start = Number(valueOffsets[position]);
    const end = Number(valueOffsets[position + 1]);
    if (start >= 0 && start <= end && end <= values.length)
      return decoder.decode(values.subarray(start, end));
    throw outside(position);
  };
}

/**
 * Reads a dictionary-encoded column of texts or integers as texts: what pandas calls a categorical one.
 *
 * @param data of a batch that was read with its dictionaries
 * @returns the text at a position, or null
 */
export function categories(data: Data, place: ColumnPlace): (position: number) => string | null {
  const { type, values, dictionary } = data;
  if (!DataType.isDictionary(type)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${place.path}: expected a categorical column, found ${describeType(type)}`,
    );
  }
  const parts = (dictionary?.data ?? []).map((part) => ({
    rows: part.length,
    at: DataType.isInt(part.type) ? integers(part, place, { nullable: true }) : texts(part, place),
  }));
  const known = new Map<number, string | null>();
  const find = (index: number): string | null => {
    let left = index;
    for (const { rows, at } of parts) {
      if (left >= 0 && left < rows) {
        const value = at(left);
        return value === null ? null : String(value);
      }
      left -= rows;
    }
    throw new KdSpecError(
      'shard-corrupt',
      `${place.path}: a categorical column has the value ${index}, which its dictionary lacks: copy the file again`,
    );
  };
  return (position) => {
    if (data.nullCount > 0 && !data.getValid(position)) return null;
    const index = Number(values[position]);
    const text = known.get(index) ?? find(index);
    known.set(index, text);
    return text;
  };
}

const viewBytes = 16;
const inlineBytes = 12; // of a text that stands in its view

/**
 * The bytes of a text in the layout of views: its length, then itself where it is short, else its first four bytes, the
 * buffer that holds it, and where it begins there. Source: Arrow columnar format 1.5, "Variable-size Binary View Layout".
 *
 * @returns undefined where they lie outside
 */
function viewedBytes(
  views: Uint8Array,
  buffers: readonly Uint8Array[],
  position: number,
): Uint8Array | undefined {
  const at = position * viewBytes;
  if (at + viewBytes > views.length) return undefined;
  const view = new DataView(views.buffer, views.byteOffset + at, viewBytes);
  const length = view.getInt32(0, true);
  if (length < 0) return undefined;
  if (length <= inlineBytes) return views.subarray(at + 4, at + 4 + length);
  const buffer = buffers[view.getInt32(8, true)];
  const start = view.getInt32(12, true);
  return buffer !== undefined && start >= 0 && start + length <= buffer.length
    ? buffer.subarray(start, start + length)
    : undefined;
}

/**
 * Reads the encoded images of a column of Hugging Face's Image feature, struct<bytes, path>, or of binary.
 *
 * @returns the bytes at a position, a view without a copy; an image that is only a path throws
 *   `dataset-invalid` with file and row
 */
export function encodedImages(data: Data, { path, firstRow }: ColumnPlace): (position: number) => Uint8Array {
  const child = DataType.isStruct(data.type)
    ? data.type.children.findIndex(({ name }) => name === 'bytes')
    : -1;
  const bytes = child < 0 ? data : data.children[child];
  const { type, valueOffsets, values } = bytes;
  if (!DataType.isBinary(type) && !DataType.isLargeBinary(type)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of images, struct<bytes, path>, found ${describeType(type)}`,
    );
  }
  return (position) => {
    const start = Number(valueOffsets[position]);
    const end = Number(valueOffsets[position + 1]);
    if (end > start && end <= values.length && start >= 0) return values.subarray(start, end);
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected the bytes of an image in row ${firstRow + position}, found none: ` +
        'images must be embedded (`save_to_disk` embeds them)',
    );
  };
}

/**
 * Reads a column of features, lists of float32 of one width.
 *
 * @returns the bytes of the row at a position, a view without a copy
 */
export function featureBytes(data: Data, { path }: ColumnPlace): (position: number) => Uint8Array {
  const { type } = data;
  const values: unknown = data.children[0]?.values;
  if (!DataType.isFixedSizeList(type) || !(values instanceof Float32Array)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of features, fixed_size_list<float32>, found ${describeType(type)}`,
    );
  }
  const rowBytes = 4 * type.listSize;
  if (values.byteLength < data.length * rowBytes) {
    throw new KdSpecError('shard-corrupt', `${path}: the features of some rows are missing: copy it again`);
  }
  return (position) => new Uint8Array(values.buffer, values.byteOffset + position * rowBytes, rowBytes);
}
