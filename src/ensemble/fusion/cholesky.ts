/**
 * Solves `A x = b` for a symmetric positive definite A, in place.
 *
 * @param matrix (n, n), the lower triangle of A; overwritten by its Cholesky factor
 * @param vector (n), b; overwritten by x
 *
 * A pivot that rounding has made zero or negative is taken as infinite, which leaves its unknown at 0: a
 * Newton step then leaves that coordinate alone. Cost: n^3 / 6 multiplications.
 */
export function solveCholesky(matrix: Float64Array, vector: Float64Array): void {
  const n = vector.length;
  for (let j = 0; j < n; j++) {
    let pivot = matrix[j * n + j];
    for (let k = 0; k < j; k++) pivot -= matrix[j * n + k] ** 2;
    const diagonal = pivot > 0 ? Math.sqrt(pivot) : Number.POSITIVE_INFINITY;
    matrix[j * n + j] = diagonal;
    for (let i = j + 1; i < n; i++) {
      let value = matrix[i * n + j];
      for (let k = 0; k < j; k++) value -= matrix[i * n + k] * matrix[j * n + k];
      matrix[i * n + j] = value / diagonal;
    }
  }
  for (let i = 0; i < n; i++) {
    let value = vector[i];
    for (let k = 0; k < i; k++) value -= matrix[i * n + k] * vector[k];
    vector[i] = value / matrix[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    let value = vector[i];
    for (let k = i + 1; k < n; k++) value -= matrix[k * n + i] * vector[k];
    vector[i] = value / matrix[i * n + i];
  }
}
