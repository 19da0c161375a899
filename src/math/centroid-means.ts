import { type CsrMatrix, csrRow } from './csr.js';
import { createCsrBuilder } from './csr-builder.js';
import { keepLargest } from './keep-largest.js';
import type { Points } from './kmeans-points.js';

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
  const sums = new Float64Array(matrix.columns); // (coordinates), of the cluster at hand
  const owner = new Int32Array(matrix.columns).fill(-1); // the cluster that last used a coordinate
  const touched = new Int32Array(matrix.columns);
  const values = new Float64Array(matrix.columns);
  const scratch = new Float64Array(matrix.columns);
  const builder = createCsrBuilder(matrix.columns, { entries: centroids.indices.length });

  for (let cluster = 0; cluster < clusters; cluster++) {
    const joined = starts[cluster + 1] - starts[cluster];
    if (joined === 0) {
      const { indices, values: unmoved } = csrRow(centroids, cluster);
      builder.addRow(indices, unmoved, indices.length);
      continue;
    }
    let touchedCount = 0;
    const add = (source: CsrMatrix, start: number, end: number, weight: number) => {
      for (let entry = start; entry < end; entry++) {
        const coordinate = source.indices[entry];
        if (owner[coordinate] !== cluster) {
          owner[coordinate] = cluster;
          touched[touchedCount++] = coordinate;
          sums[coordinate] = 0;
        }
        sums[coordinate] += weight * source.values[entry];
      }
    };
    if (counts[cluster] > 0)
      add(centroids, centroids.offsets[cluster], centroids.offsets[cluster + 1], counts[cluster]);
    for (let k = starts[cluster]; k < starts[cluster + 1]; k++) {
      const point = members[k];
      add(matrix, matrix.offsets[point], matrix.offsets[point + 1], scales[point]);
    }
    counts[cluster] += joined;
    for (let k = 0; k < touchedCount; k++) values[k] = sums[touched[k]] / counts[cluster];
    builder.addRow(touched, values, keepLargest(touched, values, touchedCount, entries, scratch));
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
