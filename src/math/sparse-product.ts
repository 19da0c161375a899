import { assert } from '../core/errors.js';
import { type CsrMatrix, compactRows, type SpacedRows, sortCsrRows } from './csr.js';
import {
  createRowThreads,
  type RowKernel,
  type RowThreads,
  type RowWork,
  sharedArray,
} from './row-threads.js';
import { createSparseSums, keepLargest } from './sparse-row.js';

/** What becomes of the product of two sparse matrices. */
export interface ProductOptions {
  /** How many entries a row keeps, those of largest magnitude; of equal ones those reached first. */
  readonly entriesPerRow: number;
  /** (rows), what the sums of a row are divided by. */
  readonly divisors: Float64Array;
  /** (rows) and (columns): their product is subtracted from every entry that was reached. */
  readonly subtract?: { readonly rows: Float64Array; readonly columns: Float64Array } | undefined;
  /** Who works; with more than one, both matrices are in shared memory. */
  readonly threads?: RowThreads;
}

/**
 * The product of two sparse matrices, row by row, its entries scaled and cut to the largest.
 *
 * c_ij = sum_k a_ik b_kj / divisor_i - u_i v_j, for the pairs (i, j) that some k joins
 *
 * @param a (rows, inner)
 * @param b (inner, columns)
 * @returns (rows, columns), columns ascending; cost O(pairs of an entry of a and one of b that meet) and room for
 *   `entriesPerRow` entries a row at most
 *
 * Source: Gustavson 1978; a hash table for the sums of a row ({@link createSparseSums}) as in Nagasaka et al. 2018.
 */
export function sparseProduct(
  a: CsrMatrix,
  b: CsrMatrix,
  { entriesPerRow, divisors, subtract, threads = createRowThreads(1) }: ProductOptions,
): CsrMatrix {
  const starts = sharedArray(Int32Array, a.rows + 1);
  const reach = sharedArray(Int32Array, a.rows); // pairs that meet in each row, or all columns
  for (let row = 0, room = 0; row < a.rows; row++) {
    let pairs = 0;
    for (let k = a.offsets[row]; k < a.offsets[row + 1]; k++) {
      pairs += b.offsets[a.indices[k] + 1] - b.offsets[a.indices[k]];
    }
    reach[row] = Math.min(pairs, b.columns);
    room += Math.min(reach[row], entriesPerRow);
    assert(room < 2 ** 31, 'a sparse matrix holds at most 2^31 - 1 entries');
    starts[row + 1] = room;
  }
  const found: SpacedRows = {
    starts,
    counts: sharedArray(Int32Array, a.rows),
    indices: sharedArray(Int32Array, starts[a.rows]),
    values: sharedArray(Float32Array, starts[a.rows]),
  };
  threads.run(productKernel, { a, b, divisors, subtract, reach, entriesPerRow, found }, a.rows);
  return sortCsrRows(compactRows(found, b.columns));
}

type ProductWork = Omit<ProductOptions, 'threads'> & {
  readonly a: CsrMatrix;
  readonly b: CsrMatrix;
  readonly reach: Int32Array; // (rows)
  readonly found: SpacedRows;
};

const productKernel: RowKernel<ProductWork> = {
  module: import.meta.url,
  name: 'createProductWork',
  create: createProductWork,
};

/** @public The work of {@link sparseProduct}, with scratch memory of its own; other threads load it by name. */
export function createProductWork({
  a,
  b,
  divisors,
  subtract,
  reach,
  entriesPerRow,
  found,
}: ProductWork): RowWork {
  const most = reach.reduce((largest, value) => Math.max(largest, value), 1);
  const sums = createSparseSums();
  const columns = new Int32Array(most);
  const values = new Float64Array(most);
  const scratch = new Float64Array(most);

  return (from, to) => {
    for (let row = from; row < to; row++) {
      sums.begin(reach[row]);
      for (let k = a.offsets[row]; k < a.offsets[row + 1]; k++) {
        const inner = a.indices[k];
        const weight = a.values[k];
        const end = b.offsets[inner + 1];
        for (let entry = b.offsets[inner]; entry < end; entry++) {
          sums.add(b.indices[entry], weight * b.values[entry]);
        }
      }
      const count = sums.take(columns, values);
      for (let k = 0; k < count; k++) {
        values[k] /= divisors[row];
        if (subtract !== undefined) values[k] -= subtract.rows[row] * subtract.columns[columns[k]];
      }
      const kept = keepLargest(columns, values, count, entriesPerRow, scratch);
      found.counts[row] = kept;
      for (let k = 0; k < kept; k++) {
        found.indices[found.starts[row] + k] = columns[k];
        found.values[found.starts[row] + k] = values[k];
      }
    }
  };
}
