import { type CsrMatrix, createCsrBuilder, transposeCsr, withSortedRows } from '../../math/csr.js';

/**
 * The columns of an affinity matrix, a row a class, as they are clustered.
 *
 * a_ij <- (a_ij + a_ji) / 2 for i ≠ j, and a_ii <- max over j of a_ij, j ≠ i
 *
 * - Both directions: a specialist for {i, j} helps whichever of the two is taken for the other. A covariance
 *   matrix is symmetric as it is (and becomes so again if its rows were cut).
 * - The diagonal: it is the largest entry of nearly every column by far, and makes a class resemble only
 *   itself; without it the columns of a pair that is confused only with each other have nothing in common.
 *   With the largest other entry in its place a class is as close to itself as to its closest neighbour:
 *   such a pair has equal columns, and so have the members of any group of equally confused classes.
 *
 * A class that is confused with no other has an empty row, whatever its diagonal.
 *
 * @param affinity (classes, classes), columns ascending in each row or not
 * @returns (classes, classes), symmetric, columns ascending; cost O(entries + classes)
 */
export function classColumns(affinity: CsrMatrix): CsrMatrix {
  const forward = withSortedRows(affinity);
  const backward = transposeCsr(affinity);
  const classes = affinity.rows;
  const indices = new Int32Array(classes);
  const values = new Float64Array(classes);
  const builder = createCsrBuilder(classes, { entries: Math.ceil(1.25 * affinity.indices.length) + classes });

  for (let row = 0; row < classes; row++) {
    let a = forward.offsets[row];
    let b = backward.offsets[row];
    const aEnd = forward.offsets[row + 1];
    const bEnd = backward.offsets[row + 1];
    let count = 0;
    let diagonalAt = -1; // where the diagonal belongs
    let largest = 0;
    while (a < aEnd || b < bEnd) {
      const column = Math.min(
        a < aEnd ? forward.indices[a] : classes,
        b < bEnd ? backward.indices[b] : classes,
      );
      let sum = 0;
      if (a < aEnd && forward.indices[a] === column) sum += forward.values[a++];
      if (b < bEnd && backward.indices[b] === column) sum += backward.values[b++];
      if (column >= row && diagonalAt < 0) diagonalAt = count++;
      if (column === row || sum === 0) continue;
      indices[count] = column;
      values[count++] = sum / 2;
      largest = Math.max(largest, sum / 2);
    }
    if (diagonalAt < 0) diagonalAt = count++;
    indices[diagonalAt] = row;
    values[diagonalAt] = largest;
    builder.addRow(indices, values, largest > 0 ? count : 0);
  }
  return builder.finish();
}

/**
 * How much each class is confused with others: what a specialist for it could correct.
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
