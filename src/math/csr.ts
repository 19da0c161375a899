import { assert } from '../core/errors.js';
import { sharedArray, toShared } from './row-threads.js';

/**
 * A sparse matrix, compressed by rows: row r holds `indices[k]`, `values[k]` for k in
 * [offsets[r], offsets[r + 1]).
 *
 * Columns of a row are distinct. They ascend in what this folder builds; nothing relies on it in what it
 * reads, unless a function says so.
 */
export interface CsrMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly offsets: Int32Array; // (rows + 1), ascending from 0
  readonly indices: Int32Array; // (entries), in [0, columns)
  readonly values: Float32Array; // (entries)
}

/** The entries of one row, as views on the matrix. */
export function csrRow(
  matrix: CsrMatrix,
  row: number,
): { readonly indices: Int32Array; readonly values: Float32Array } {
  const start = matrix.offsets[row];
  const end = matrix.offsets[row + 1];
  return { indices: matrix.indices.subarray(start, end), values: matrix.values.subarray(start, end) };
}

/**
 * The transpose, by a counting sort of the entries: O(entries + rows + columns).
 *
 * Columns ascend in each row of the result, whatever their order was, so transposing twice sorts a matrix.
 */
export function transposeCsr(matrix: CsrMatrix): CsrMatrix {
  const { rows, columns, offsets, indices, values } = matrix;
  const entries = offsets[rows];
  const transposedOffsets = new Int32Array(columns + 1);
  for (let k = 0; k < entries; k++) transposedOffsets[indices[k] + 1]++;
  for (let column = 0; column < columns; column++) transposedOffsets[column + 1] += transposedOffsets[column];

  const next = transposedOffsets.slice(0, columns);
  const transposedIndices = new Int32Array(entries);
  const transposedValues = new Float32Array(entries);
  for (let row = 0; row < rows; row++) {
    for (let k = offsets[row]; k < offsets[row + 1]; k++) {
      const target = next[indices[k]]++;
      transposedIndices[target] = row;
      transposedValues[target] = values[k];
    }
  }
  return {
    rows: columns,
    columns: rows,
    offsets: transposedOffsets,
    indices: transposedIndices,
    values: transposedValues,
  };
}

/**
 * Sorts the entries of each row by column, in place, and returns the same matrix.
 *
 * Cost: O(entries log(entries of a row)), without leaving the row: many times faster than transposing twice.
 */
export function sortCsrRows(matrix: CsrMatrix): CsrMatrix {
  const { rows, columns, offsets, indices, values } = matrix;
  let keys = new Float64Array(64);
  let sorted = new Float32Array(64);
  for (let row = 0; row < rows; row++) {
    const start = offsets[row];
    const length = offsets[row + 1] - start;
    if (isAscending(indices, start, start + length)) continue;
    if (length > keys.length) {
      keys = new Float64Array(2 * length);
      sorted = new Float32Array(2 * length);
    }
    assert(columns * length < Number.MAX_SAFE_INTEGER, `rows of ${length} of ${columns} columns`);
    for (let k = 0; k < length; k++) keys[k] = indices[start + k] * length + k; // column, then where it stood
    keys.subarray(0, length).sort();
    for (let k = 0; k < length; k++) {
      const column = Math.floor(keys[k] / length);
      sorted[k] = values[start + (keys[k] - column * length)];
      indices[start + k] = column;
    }
    values.set(sorted.subarray(0, length), start);
  }
  return matrix;
}

/** The matrix itself when columns ascend in each row, else a copy in which they do. */
export function withSortedRows(matrix: CsrMatrix): CsrMatrix {
  const { rows, offsets, indices, values } = matrix;
  for (let row = 0; row < rows; row++) {
    if (isAscending(indices, offsets[row], offsets[row + 1])) continue;
    return sortCsrRows({ ...matrix, indices: indices.slice(), values: values.slice() });
  }
  return matrix;
}

function isAscending(indices: Int32Array, start: number, end: number): boolean {
  for (let k = start + 1; k < end; k++) if (indices[k - 1] >= indices[k]) return false;
  return true;
}

/** The matrix itself when all threads see its memory, else a copy that they do. */
export function shareCsr(matrix: CsrMatrix): CsrMatrix {
  const { offsets, indices, values } = matrix;
  return { ...matrix, offsets: toShared(offsets), indices: toShared(indices), values: toShared(values) };
}

/** The matrix of some of the rows, in the order given: O(entries kept). */
export function selectCsrRows(matrix: CsrMatrix, selection: ArrayLike<number>): CsrMatrix {
  const offsets = new Int32Array(selection.length + 1);
  for (let row = 0; row < selection.length; row++) {
    const source = selection[row];
    offsets[row + 1] = offsets[row] + matrix.offsets[source + 1] - matrix.offsets[source];
  }
  const indices = new Int32Array(offsets[selection.length]);
  const values = new Float32Array(offsets[selection.length]);
  for (let row = 0; row < selection.length; row++) {
    const source = csrRow(matrix, selection[row]);
    indices.set(source.indices, offsets[row]);
    values.set(source.values, offsets[row]);
  }
  return { rows: selection.length, columns: matrix.columns, offsets, indices, values };
}

/** Collects the rows of a sparse matrix one after the other. */
export interface CsrBuilder {
  /** Appends a row made of the first `count` entries; they are copied. */
  addRow(indices: ArrayLike<number>, values: ArrayLike<number>, count: number): void;
  /** The matrix of the rows so far, without a copy. */
  finish(): CsrMatrix;
}

/**
 * A builder of matrices with so many columns. Storage doubles when it is full: O(entries) in all. It is memory that
 * threads share, so that no copy is needed to work on the matrix with several.
 *
 * @param columns how many columns the matrix has
 * @param options.entries how many entries to make room for at first
 */
export function createCsrBuilder(
  columns: number,
  { entries = 1024 }: { readonly entries?: number } = {},
): CsrBuilder {
  let offsets = sharedArray(Int32Array, 1025);
  let indices = sharedArray(Int32Array, entries);
  let values = sharedArray(Float32Array, entries);
  let rows = 0;
  let used = 0;

  return {
    addRow(rowIndices, rowValues, count) {
      assert(used + count < 2 ** 31, 'a sparse matrix holds at most 2^31 - 1 entries');
      if (used + count > indices.length) {
        const capacity = Math.min(2 ** 31 - 1, Math.max(used + count, 2 * indices.length));
        indices = grown(indices, sharedArray(Int32Array, capacity));
        values = grown(values, sharedArray(Float32Array, capacity));
      }
      if (rows + 1 === offsets.length) offsets = grown(offsets, sharedArray(Int32Array, 2 * offsets.length));
      for (let entry = 0; entry < count; entry++) {
        indices[used] = rowIndices[entry];
        values[used++] = rowValues[entry];
      }
      offsets[++rows] = used;
    },
    finish: () => ({
      rows,
      columns,
      offsets: offsets.subarray(0, rows + 1),
      indices: indices.subarray(0, used),
      values: values.subarray(0, used),
    }),
  };
}

function grown<T extends Int32Array | Float32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Rows that were written with gaps between them, by threads that did not wait for one another. */
export interface SpacedRows {
  readonly starts: Int32Array; // (rows + 1), where the room of each row begins
  readonly counts: Int32Array; // (rows), entries in use
  readonly indices: Int32Array; // (room)
  readonly values: Float32Array; // (room)
}

/** The matrix of such rows, in the same memory, which they lose: O(entries). */
export function compactRows({ starts, counts, indices, values }: SpacedRows, columns: number): CsrMatrix {
  const rows = counts.length;
  const offsets = new Int32Array(rows + 1);
  for (let row = 0; row < rows; row++) {
    const start = starts[row];
    indices.copyWithin(offsets[row], start, start + counts[row]);
    values.copyWithin(offsets[row], start, start + counts[row]);
    offsets[row + 1] = offsets[row] + counts[row];
  }
  return {
    rows,
    columns,
    offsets,
    indices: indices.subarray(0, offsets[rows]),
    values: values.subarray(0, offsets[rows]),
  };
}

/**
 * The rows and columns of a square matrix that belong to some indices, in their order.
 *
 * @param kept (k), distinct, ascending
 * @returns (k, k)
 */
export function csrSubmatrix({ rows, offsets, indices, values }: CsrMatrix, kept: Int32Array): CsrMatrix {
  const place = new Int32Array(rows).fill(-1);
  for (const [position, index] of kept.entries()) place[index] = position;
  const keptOffsets = new Int32Array(kept.length + 1);
  const keptIndices: number[] = [];
  const keptValues: number[] = [];
  for (const [position, row] of kept.entries()) {
    for (let entry = offsets[row]; entry < offsets[row + 1]; entry++) {
      const column = place[indices[entry]];
      if (column === -1) continue;
      keptIndices.push(column);
      keptValues.push(values[entry]);
    }
    keptOffsets[position + 1] = keptIndices.length;
  }
  return {
    rows: kept.length,
    columns: kept.length,
    offsets: keptOffsets,
    indices: Int32Array.from(keptIndices),
    values: Float32Array.from(keptValues),
  };
}
