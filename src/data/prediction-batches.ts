import { type Data, DataType, Precision, type RecordBatch } from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import { halfToNumber } from '../math/half.js';
import { type ColumnPlace, column, integers } from './arrow-columns.js';
import type { ShardIndex } from './arrow-shard.js';
import { type PredictionBatch, sumAdvice } from './prediction-tables.js';
import { classLimit } from './recorded-names.js';

// How a record batch of an Arrow file becomes checked sparse rows.

const partEntries = 2 ** 20; // that are decoded without a turn of the event loop
/** How far float32 rounding may carry a row's sum above 1. */
const sumTolerance = 1e-3;

/** Advice where an index or a label is too large to be one. */
export const idAdvice = 'are these ids? Number the classes from 0 without gaps';

/**
 * Checks that an Arrow file has the columns of predictions.
 *
 * @throws KdSpecError `predictions-invalid`
 */
export function checkColumns({ path, schema }: ShardIndex): void {
  for (const name of ['indices', 'probabilities']) {
    const type: unknown = schema.fields.find((field) => field.name === name)?.type;
    const isList = DataType.isList(type) || DataType.isLargeList(type) || DataType.isFixedSizeList(type);
    const item = isList ? type.valueType : undefined;
    const isEmpty = DataType.isFixedSizeList(type) && type.listSize < 1;
    if ((DataType.isInt(item) || DataType.isFloat(item)) && !isEmpty) continue;
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected the columns indices: list<int32> and probabilities: list<float32>, ` +
        `found ${name}: ${isEmpty ? `${type}, lists of width 0` : (type ?? 'missing')}`,
    );
  }
  const label: unknown = schema.fields.find((field) => field.name === 'label')?.type;
  if (label === undefined || DataType.isInt(label)) return;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}: expected the column label to hold integers, the index of each row's class, found ${label}: ` +
      'convert it, or leave it out',
  );
}

/** Where a record batch stands, and what is known of its classes. */
interface DecodePlace {
  readonly path: string;
  readonly firstRow: number;
  readonly classes: number | undefined;
  /** (classes so far), the number of the row in which an index stood last, counted over all batches from 1. */
  readonly seen: { stamps: Float64Array; row: number };
}

/**
 * Decodes a record batch, in parts of bounded size.
 *
 * Every row is checked in the types of the file, before it is narrowed.
 *
 * @throws KdSpecError `predictions-invalid`, naming file and row
 */
export function* decodePredictions(
  batch: RecordBatch,
  { path, firstRow, classes, seen }: DecodePlace,
): Generator<PredictionBatch> {
  const rows = batch.numRows;
  const invalid = (row: number, what: string) =>
    new KdSpecError('predictions-invalid', `${path}, row ${firstRow + row}: ${what}`);
  const indexColumn = listColumn(column(batch, 'indices'), rows, invalid);
  const valueColumn = listColumn(column(batch, 'probabilities'), rows, invalid);
  const labels = readLabels(column(batch, 'label'), rows, { path, firstRow }, classes, invalid);
  const limit = classes ?? classLimit;
  for (let first = 0, end = 0; first < rows || first === 0; first = end) {
    for (end = first; end < rows && indexColumn.offsets[end] - indexColumn.offsets[first] < partEntries; )
      end++;
    const offsets = new Int32Array(end - first + 1);
    for (let row = first; row < end; row++) {
      const length = indexColumn.offsets[row + 1] - indexColumn.offsets[row];
      const other = valueColumn.offsets[row + 1] - valueColumn.offsets[row];
      if (length !== other)
        throw invalid(row, `expected as many probabilities as indices, ${length}, found ${other}`);
      offsets[row - first + 1] = offsets[row - first] + length;
    }
    const indices = new Int32Array(offsets[end - first]);
    const values = new Float32Array(offsets[end - first]);
    let highest = -1;
    for (let row = first; row < end; row++) {
      const start = offsets[row - first];
      const indexStart = indexColumn.offsets[row] - start;
      const valueStart = valueColumn.offsets[row] - start;
      const stamp = ++seen.row;
      let sum = 0;
      // As wide as the file has them until they are known to be in range: 2^32 + 1 is not 1.
      for (let entry = start; entry < offsets[row - first + 1]; entry++) {
        const index = indexColumn.at(indexStart + entry);
        const value = valueColumn.at(valueStart + entry);
        if (!(Number.isInteger(index) && index >= 0 && index < limit)) {
          const isId = classes === undefined && index >= limit;
          throw invalid(
            row,
            `expected whole indices from 0 to ${limit - 1}, found ${index}${isId ? `: ${idAdvice}` : ''}`,
          );
        }
        if (index >= seen.stamps.length) seen.stamps = grown(seen.stamps, index);
        if (seen.stamps[index] === stamp)
          throw invalid(row, `expected each class once, found ${index} again`);
        if (!(value >= 0))
          throw invalid(row, `expected probabilities of 0 or more, found ${value} for class ${index}`);
        seen.stamps[index] = stamp;
        highest = Math.max(highest, index);
        sum += value;
        indices[entry] = index;
        values[entry] = value;
      }
      if (!(sum <= 1 + sumTolerance))
        throw invalid(
          row,
          `expected probabilities that sum to at most 1, found ${Number(sum.toPrecision(6))}: ${sumAdvice}`,
        );
    }
    const columns = classes ?? highest + 1;
    yield {
      probabilities: { rows: end - first, columns, offsets, indices, values },
      labels: labels?.subarray(first, end),
    };
    if (rows === 0) return;
  }
}

type Invalid = (row: number, what: string) => KdSpecError;

/** A column of lists of numbers: where each list begins, and the number at a place. */
function listColumn(
  data: Data | undefined,
  rows: number,
  invalid: Invalid,
): { readonly offsets: ArrayLike<number>; readonly at: (entry: number) => number } {
  assert(data !== undefined, 'a list column vanished between schema and batch');
  for (let row = 0; data.nullCount > 0 && row < rows; row++) {
    if (!data.getValid(row)) throw invalid(row, 'expected lists, found null');
  }
  const child = data.children[0];
  if (child.nullCount > 0)
    throw invalid(0, 'expected numbers in the lists, found null in this row or a later one');
  const width: number = DataType.isFixedSizeList(data.type) ? data.type.listSize : 0;
  const starts: Int32Array | BigInt64Array = data.valueOffsets;
  const offsets =
    width > 0
      ? Int32Array.from({ length: rows + 1 }, (_, row) => row * width)
      : starts instanceof Int32Array
        ? starts
        : Float64Array.from(starts, Number);
  const values: ArrayLike<number | bigint> = child.values;
  for (let row = 0; row < rows; row++) {
    if (!(offsets[row] >= 0 && offsets[row] <= offsets[row + 1] && offsets[row + 1] <= values.length))
      throw invalid(row, `its list lies outside the ${values.length} numbers of the column`);
  }
  const isHalf = DataType.isFloat(child.type) && child.type.precision === Precision.HALF;
  return {
    offsets,
    at: isHalf ? (entry) => halfToNumber(Number(values[entry])) : (entry) => Number(values[entry]),
  };
}

function readLabels(
  data: Data | undefined,
  rows: number,
  place: ColumnPlace,
  classes: number | undefined,
  invalid: Invalid,
): Int32Array | undefined {
  if (!data) return undefined;
  const labelAt = integers(data, place);
  const labels = new Int32Array(rows);
  const limit = classes ?? classLimit;
  for (let row = 0; row < rows; row++) {
    const label = labelAt(row);
    if (!(label >= 0 && label < limit)) {
      const isId = classes === undefined && label >= limit;
      throw invalid(
        row,
        `expected a label from 0 to ${limit - 1}, found ${label}${isId ? `: ${idAdvice}` : ''}`,
      );
    }
    labels[row] = label;
  }
  return labels;
}

/** A copy with room for an index, and for as many again. */
export function grown<T extends Uint8Array | Float64Array>(array: T, index: number): T {
  const type = array.constructor as { new (length: number): T };
  const larger = new type(Math.min(classLimit + 1, 2 * (index + 1)));
  larger.set(array);
  return larger;
}
