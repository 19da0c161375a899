import { assert } from '../core/errors.js';
import type { CsrMatrix } from './csr.js';
import { sharedArray } from './row-threads.js';

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
