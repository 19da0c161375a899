import { groupByCluster } from './centroid-means.js';
import { type CsrMatrix, csrRow, transposeCsr } from './csr.js';
import { createCsrBuilder } from './csr-builder.js';
import { type Distance, preparePoints } from './kmeans-points.js';
import { indexCentroids } from './nearest-centroid.js';
import { topK } from './top-k.js';

/*
 * How similar a point is to a centroid, so that larger is nearer:
 *
 * - `cosine`: cos(x, c) = 1 - distance
 * - `euclidean`: x·c - |c|² / 2 = (|x|² - distance) / 2
 *
 * A point that shares no coordinate with the centroid has the similarity 0 or -|c|² / 2.
 */

/** Points and the centroids nearest to each. */
export interface CentroidSimilarities {
  /** Similarities, the nearest centroid first. */
  readonly nearest: CsrMatrix; // (points, clusters)
  /** The similarity of each centroid to points that share no coordinate with it. */
  readonly unrelated: Float64Array; // (clusters)
}

/**
 * The most similar centroids of every point, among those that share a coordinate with it.
 *
 * @param matrix (points, coordinates)
 * @param centroids (clusters, coordinates)
 * @param options.candidates how many a point keeps
 * @returns up to `candidates` a point; cost of one pass of k-means
 */
export function nearestCentroids(
  matrix: CsrMatrix,
  centroids: CsrMatrix,
  { distance, candidates }: { readonly distance: Distance; readonly candidates: number },
): CentroidSimilarities {
  const { clusters, postings, biases } = indexCentroids(centroids, distance);
  const { scales } = preparePoints(matrix, distance);
  const sums = new Float64Array(clusters);
  const owner = new Int32Array(clusters).fill(-1); // the point that last used a cluster
  const touched = new Int32Array(clusters);
  const values = new Float64Array(clusters);
  const builder = createCsrBuilder(clusters, { entries: matrix.rows * Math.min(candidates, clusters) });
  for (let point = 0; point < matrix.rows; point++) {
    let count = 0;
    for (let entry = matrix.offsets[point]; entry < matrix.offsets[point + 1]; entry++) {
      const coordinate = matrix.indices[entry];
      const value = matrix.values[entry];
      for (let k = postings.offsets[coordinate]; k < postings.offsets[coordinate + 1]; k++) {
        const cluster = postings.indices[k];
        if (owner[cluster] !== point) {
          owner[cluster] = point;
          touched[count++] = cluster;
          sums[cluster] = 0;
        }
        sums[cluster] += value * postings.values[k];
      }
    }
    for (let k = 0; k < count; k++) values[k] = scales[point] * sums[touched[k]] - biases[touched[k]];
    const best = topK(values.subarray(0, count), candidates);
    builder.addRow(
      best.indices.map((k) => touched[k]),
      best.values,
      best.indices.length,
    );
  }
  return { nearest: builder.finish(), unrelated: biases.map((bias) => -bias) };
}

/**
 * The most similar points of every centroid, among those that share a coordinate with it.
 *
 * @param matrix (points, coordinates)
 * @param centroids (clusters, coordinates)
 * @param options.size how many a centroid keeps
 * @returns (clusters, points), similarities, the nearest point first; cost of one pass of k-means
 */
export function nearestPoints(
  matrix: CsrMatrix,
  centroids: CsrMatrix,
  { distance, size }: { readonly distance: Distance; readonly size: number },
): CsrMatrix {
  const index = indexCentroids(centroids, distance);
  const byCluster = transposeCsr(index.postings); // (clusters, coordinates), of length 1 for the cosine
  const { scales } = preparePoints(matrix, distance);
  const postings = transposeCsr(matrix); // (coordinates, points)
  const sums = new Float64Array(matrix.rows);
  const owner = new Int32Array(matrix.rows).fill(-1); // the cluster that last used a point
  const touched = new Int32Array(matrix.rows);
  const builder = createCsrBuilder(matrix.rows, { entries: centroids.rows * Math.min(size, matrix.rows) });
  for (let cluster = 0; cluster < byCluster.rows; cluster++) {
    let count = 0;
    for (let entry = byCluster.offsets[cluster]; entry < byCluster.offsets[cluster + 1]; entry++) {
      const coordinate = byCluster.indices[entry];
      const value = byCluster.values[entry];
      for (let k = postings.offsets[coordinate]; k < postings.offsets[coordinate + 1]; k++) {
        const point = postings.indices[k];
        if (owner[point] !== cluster) {
          owner[point] = cluster;
          touched[count++] = point;
          sums[point] = 0;
        }
        sums[point] += value * postings.values[k];
      }
    }
    const points = touched.subarray(0, count).slice().sort(); // equally similar ones by number
    const values = Float64Array.from(points, (point) => scales[point] * sums[point] - index.biases[cluster]);
    const best = topK(values, size);
    builder.addRow(
      best.indices.map((k) => points[k]),
      best.values,
      best.indices.length,
    );
  }
  return builder.finish();
}

/**
 * The similarity of every point to the centroid it is assigned to.
 *
 * @param matrix (points, coordinates)
 * @param centroids (clusters, coordinates)
 * @param assignments (points), in [0, clusters), or -1 for none
 * @returns (points), 0 where there is no centroid; cost O(entries)
 */
export function similaritiesToOwn(
  matrix: CsrMatrix,
  centroids: CsrMatrix,
  assignments: Int32Array,
  distance: Distance,
): Float64Array {
  const index = indexCentroids(centroids, distance);
  const byCluster = transposeCsr(index.postings); // (clusters, coordinates), of length 1 for the cosine
  const { scales } = preparePoints(matrix, distance);
  const similarities = new Float64Array(matrix.rows);
  const centroid = new Float64Array(matrix.columns); // the one at hand
  const rows = Int32Array.from({ length: matrix.rows }, (_, row) => row);
  const { starts, members } = groupByCluster(rows, assignments, byCluster.rows);
  for (let cluster = 0; cluster < byCluster.rows; cluster++) {
    const { indices, values } = csrRow(byCluster, cluster);
    indices.forEach((coordinate, entry) => {
      centroid[coordinate] = values[entry];
    });
    for (let k = starts[cluster]; k < starts[cluster + 1]; k++) {
      const point = members[k];
      let dot = 0;
      for (let entry = matrix.offsets[point]; entry < matrix.offsets[point + 1]; entry++) {
        dot += matrix.values[entry] * centroid[matrix.indices[entry]];
      }
      similarities[point] = scales[point] * dot - index.biases[cluster];
    }
    for (const coordinate of indices) centroid[coordinate] = 0;
  }
  return similarities;
}
