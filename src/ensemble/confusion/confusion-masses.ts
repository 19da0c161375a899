import type { CsrMatrix } from '../../math/csr.js';

/**
 * How much each class is confused with others: what a specialist for it could mend.
 *
 *     mass_i = sum over j ≠ i of max(0, a_ij)
 *
 * with `a` made symmetric, so that it counts whichever of two classes is taken for the other. Negative entries (classes
 * predicted together less often than by chance) are no confusion.
 *
 * @param columns (classes, classes), from `classColumns`
 * @returns (classes), in the unit of the matrix; cost O(entries)
 */
export function confusionMasses({ rows, offsets, indices, values }: CsrMatrix): Float64Array {
  const masses = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let k = offsets[row]; k < offsets[row + 1]; k++) {
      if (indices[k] !== row) masses[row] += Math.max(0, values[k]);
    }
  }
  return masses;
}
