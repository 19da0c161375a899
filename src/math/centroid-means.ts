import { type CsrMatrix, csrRow } from './csr.js';
import { createCsrBuilder } from './csr-builder.js';
import { keepLargest } from './keep-largest.js';
import type { Points } from './kmeans-points.js';
import { sharedArray } from './row-threads.js';
import { createSparseSums } from './sparse-sums.js';

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
