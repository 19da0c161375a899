import type { CsrMatrix } from './csr.js';

/**
 * How far apart two vectors are.
 *
 * - `euclidean`: the squared Euclidean distance |x - y|²
 * - `cosine`: 1 - cos(x, y), half the squared Euclidean distance of the two as unit vectors
 */
export type Distance = 'cosine' | 'euclidean';

/** Points to cluster. For the cosine distance they count as unit vectors, without a copy being made. */
export interface Points {
  readonly matrix: CsrMatrix; // (points, coordinates)
  readonly distance: Distance;
  /** What each row is multiplied by: 1, or 1 / |row| for the cosine distance (0 for a row of zeros). */
  readonly scales: Float64Array; // (points)
  /** |x|² of each scaled row. */
  readonly squaredNorms: Float64Array; // (points)
}

/** Scales and norms of the rows of a matrix: O(entries). */
export function preparePoints(matrix: CsrMatrix, distance: Distance): Points {
  const { rows, offsets, values } = matrix;
  const scales = new Float64Array(rows).fill(1);
  const squaredNorms = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let entry = offsets[row]; entry < offsets[row + 1]; entry++) sum += values[entry] * values[entry];
    squaredNorms[row] = sum;
    if (distance === 'euclidean') continue;
    scales[row] = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    squaredNorms[row] = sum > 0 ? 1 : 0;
  }
  return { matrix, distance, scales, squaredNorms };
}
