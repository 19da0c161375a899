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

/**
 * Reads an integer column of any width as numbers.
 *
 * @returns the value at a position; null, and values beyond 2^53, throw `dataset-invalid` with file and row
 */
export function integers(data: Data, { path, firstRow }: ColumnPlace): (position: number) => number {
  const { type, values } = data;
  if (!DataType.isInt(type)) {
    throw new KdSpecError('dataset-invalid', `${path}: expected a column of integers, found ${type}`);
  }
  return (position) => {
    const value = data.nullCount > 0 && !data.getValid(position) ? Number.NaN : Number(values[position]);
    if (Number.isSafeInteger(value)) return value;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected an integer in row ${firstRow + position}, found null: remove the row`,
    );
  };
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
      `${path}: expected a column of images, struct<bytes, path>, found ${type}`,
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
