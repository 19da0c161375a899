import { assert } from '../../src/core/errors.js';
import type { CsrMatrix } from '../../src/math/csr.js';

/** The non-zeros of a dense row-major matrix of shape (rows, columns). */
export function csrFromDense(dense: ArrayLike<number>, rows: number, columns: number): CsrMatrix {
  assert(dense.length === rows * columns, `${dense.length} values for a matrix of ${rows} x ${columns}`);
  const offsets = new Int32Array(rows + 1);
  for (let k = 0; k < dense.length; k++) if (dense[k] !== 0) offsets[Math.floor(k / columns) + 1]++;
  for (let row = 0; row < rows; row++) offsets[row + 1] += offsets[row];
  const indices = new Int32Array(offsets[rows]);
  const values = new Float32Array(offsets[rows]);
  for (let k = 0, entry = 0; k < dense.length; k++) {
    if (dense[k] === 0) continue;
    indices[entry] = k % columns;
    values[entry++] = dense[k];
  }
  return { rows, columns, offsets, indices, values };
}

/** The dense row-major matrix of shape (rows, columns): for small matrices. */
export function csrToDense(matrix: CsrMatrix): Float32Array {
  const { rows, columns, offsets, indices, values } = matrix;
  const dense = new Float32Array(rows * columns); // (rows, columns)
  for (let row = 0; row < rows; row++) {
    for (let k = offsets[row]; k < offsets[row + 1]; k++) dense[row * columns + indices[k]] = values[k];
  }
  return dense;
}
