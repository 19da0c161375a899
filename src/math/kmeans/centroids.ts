import { type CsrMatrix, createCsrBuilder, csrRow, transposeCsr } from '../csr.js';
import { sharedArray } from '../row-threads.js';
import { createSparseSums, keepLargest } from '../sparse-row.js';

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

/**
 * An inverted file of centroids: from each coordinate to the centroids that are not zero there.
 *
 * The distance of a point x to centroid c rises with its height, `bias(c) - dot(x, c)`, where the bias is
 * |c|² / 2 for the Euclidean distance and 0 for the cosine distance, whose centroids are unit vectors. Only
 * centroids that share a coordinate with x have a dot product other than 0, so finding the nearest one costs as
 * many steps as there are shared entries, instead of clusters times entries of x; among the others the nearest
 * is the one of least bias.
 */
export interface CentroidIndex {
  readonly clusters: number;
  readonly postings: CsrMatrix; // (coordinates, clusters)
  readonly biases: Float64Array; // (clusters)
  readonly byBias: Int32Array; // (clusters), least bias first
}

/** The inverted file of centroids of shape (clusters, coordinates): O(entries + clusters log clusters). */
export function indexCentroids(centroids: CsrMatrix, distance: Distance): CentroidIndex {
  const clusters = centroids.rows;
  const biases = new Float64Array(clusters);
  const values = centroids.values.slice();
  for (let cluster = 0; cluster < clusters; cluster++) {
    const start = centroids.offsets[cluster];
    const end = centroids.offsets[cluster + 1];
    let squaredNorm = 0;
    for (let entry = start; entry < end; entry++) squaredNorm += values[entry] * values[entry];
    if (distance === 'euclidean') {
      biases[cluster] = squaredNorm / 2;
    } else if (squaredNorm > 0) {
      const scale = 1 / Math.sqrt(squaredNorm);
      for (let entry = start; entry < end; entry++) values[entry] *= scale;
    }
  }
  const byBias = Int32Array.from(biases.keys()).sort((a, b) => biases[a] - biases[b] || a - b);
  return { clusters, postings: transposeCsr({ ...centroids, values }), biases, byBias };
}

/**
 * Moves each centroid towards the points assigned to it, at a rate of its own.
 *
 * With n points behind a centroid c and b new ones x: c <- c + b / (n + b) * (mean(x) - c). That is b steps
 * of Sculley's rate 1 / n each, so a centroid is the mean of all points it was ever given, and with n = 0
 * the mean of the new ones. For the cosine distance it is the mean of the unit vectors, whose direction
 * counts.
 *
 * @param points (points, coordinates)
 * @param selection the rows of this batch
 * @param assignments (points), the cluster of each row; rows with -1 are left out
 * @param centroids (clusters, coordinates), where the centroids stand
 * @param counts (clusters), points behind each centroid; brought up to date
 * @param options.entries how many coordinates, the largest, a centroid keeps; default 1024
 * @returns where they stand now, (clusters, coordinates); cost O(entries of centroids and selected rows)
 *
 * Source: Sculley 2010, algorithm 1.
 */
export function moveCentroids(
  { matrix, scales }: Points,
  selection: Int32Array,
  assignments: Int32Array,
  centroids: CsrMatrix,
  counts: Int32Array,
  { entries = 1024 }: { readonly entries?: number } = {},
): CsrMatrix {
  const clusters = centroids.rows;
  const { starts, members } = groupByCluster(selection, assignments, clusters);
  const sums = createSparseSums(); // of the cluster at hand
  let indices = new Int32Array(1024);
  let values = new Float64Array(1024);
  let scratch = new Float64Array(1024);
  const builder = createCsrBuilder(matrix.columns, { entries: centroids.indices.length });

  for (let cluster = 0; cluster < clusters; cluster++) {
    const joined = starts[cluster + 1] - starts[cluster];
    if (joined === 0) {
      const unmoved = csrRow(centroids, cluster);
      builder.addRow(unmoved.indices, unmoved.values, unmoved.indices.length);
      continue;
    }
    const isFresh = counts[cluster] === 0;
    let most = isFresh ? 0 : centroids.offsets[cluster + 1] - centroids.offsets[cluster];
    for (let k = starts[cluster]; k < starts[cluster + 1]; k++) {
      most += matrix.offsets[members[k] + 1] - matrix.offsets[members[k]];
    }
    sums.begin(Math.min(most, matrix.columns));
    if (!isFresh) {
      for (let entry = centroids.offsets[cluster]; entry < centroids.offsets[cluster + 1]; entry++) {
        sums.add(centroids.indices[entry], counts[cluster] * centroids.values[entry]);
      }
    }
    for (let k = starts[cluster]; k < starts[cluster + 1]; k++) {
      const point = members[k];
      const scale = scales[point];
      for (let entry = matrix.offsets[point]; entry < matrix.offsets[point + 1]; entry++) {
        sums.add(matrix.indices[entry], scale * matrix.values[entry]);
      }
    }
    if (most > indices.length) {
      indices = new Int32Array(2 * most);
      values = new Float64Array(2 * most);
      scratch = new Float64Array(2 * most);
    }
    const touched = sums.take(indices, values);
    counts[cluster] += joined;
    for (let k = 0; k < touched; k++) values[k] /= counts[cluster];
    builder.addRow(indices, values, keepLargest(indices, values, touched, entries, scratch));
  }
  return builder.finish();
}

/** The selected rows sorted by cluster: those of c stand in [starts[c], starts[c + 1]) of `members`. */
export function groupByCluster(selection: Int32Array, assignments: Int32Array, clusters: number) {
  const starts = new Int32Array(clusters + 1);
  for (const point of selection) if (assignments[point] >= 0) starts[assignments[point] + 1]++;
  for (let cluster = 0; cluster < clusters; cluster++) starts[cluster + 1] += starts[cluster];
  const members = new Int32Array(starts[clusters]);
  const next = starts.slice(0, clusters);
  for (const point of selection) if (assignments[point] >= 0) members[next[assignments[point]]++] = point;
  return { starts, members };
}

/** All points, those of cluster 0 first, those of none last; within each in their order: O(points). */
export function sortByCluster(assignments: Int32Array, clusters: number): Int32Array {
  const starts = new Int32Array(clusters + 2);
  const place = (cluster: number) => (cluster < 0 ? clusters : cluster);
  for (const cluster of assignments) starts[place(cluster) + 1]++;
  for (let cluster = 0; cluster < clusters; cluster++) starts[cluster + 1] += starts[cluster];
  const sorted = sharedArray(Int32Array, assignments.length);
  for (let point = 0; point < assignments.length; point++) {
    sorted[starts[place(assignments[point])]++] = point;
  }
  return sorted;
}
