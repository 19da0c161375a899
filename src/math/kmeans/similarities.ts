import {
  type CsrMatrix,
  compactRows,
  createCsrBuilder,
  csrRow,
  type SpacedRows,
  transposeCsr,
} from '../csr.js';
import {
  createRowThreads,
  type RowKernel,
  type RowThreads,
  type RowWork,
  sharedArray,
} from '../row-threads.js';
import { topK } from '../top-k.js';
import {
  type CentroidIndex,
  type Distance,
  groupByCluster,
  indexCentroids,
  type Points,
  preparePoints,
} from './centroids.js';

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
 * @param points (points, coordinates)
 * @param centroids (clusters, coordinates)
 * @param options.candidates how many a point keeps
 * @param options.order in which order points are looked at: neighbours that share coordinates make good use of
 *   the cache; default that of the rows
 * @param options.threads who works; with more than one the points are in shared memory
 * @returns up to `candidates` a point, of equally similar ones the lower number first; cost of one pass of k-means
 */
export function nearestCentroids(
  points: Points,
  centroids: CsrMatrix,
  {
    candidates,
    order = Int32Array.from(points.scales.keys()),
    threads = createRowThreads(1),
  }: {
    readonly candidates: number;
    readonly order?: Int32Array;
    readonly threads?: RowThreads;
  },
): CentroidSimilarities {
  const index = indexCentroids(centroids, points.distance);
  const rows = points.matrix.rows;
  const width = Math.min(candidates, index.clusters);
  const found = {
    starts: Int32Array.from({ length: rows + 1 }, (_, row) => row * width),
    counts: sharedArray(Int32Array, rows),
    indices: sharedArray(Int32Array, rows * width),
    values: sharedArray(Float32Array, rows * width),
  };
  threads.run(nearestKernel, { points, index, order, width, found }, rows);
  return { nearest: compactRows(found, index.clusters), unrelated: index.biases.map((bias) => -bias) };
}

interface NearestWork {
  readonly points: Points;
  readonly index: CentroidIndex;
  readonly order: Int32Array; // (points)
  readonly width: number; // most centroids a point
  readonly found: SpacedRows; // (points, clusters)
}

const nearestKernel: RowKernel<NearestWork> = {
  module: import.meta.url,
  name: 'createNearestSearch',
  create: createNearestSearch,
};

/** @public The work of {@link nearestCentroids}, with scratch memory of its own; other threads load it by name. */
export function createNearestSearch({
  points: { matrix, scales },
  index: { clusters, postings, biases },
  order,
  width,
  found: { starts, counts, indices, values },
}: NearestWork): RowWork {
  const sums = new Float64Array(clusters);
  const owner = new Int32Array(clusters).fill(-1); // the point that last used a cluster
  const touched = new Int32Array(clusters);
  return (from, to) => {
    for (let position = from; position < to; position++) {
      const point = order[position];
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
      // Insertion into the best so far: most centroids are turned away by the last of them.
      const first = starts[point];
      let kept = 0;
      for (let k = 0; k < count; k++) {
        const cluster = touched[k];
        const value = Math.fround(scales[point] * sums[cluster] - biases[cluster]);
        let place = first + kept;
        if (kept === width) {
          const last = values[--place];
          if (value < last || (value === last && cluster > indices[place])) continue;
        } else {
          kept++;
        }
        for (; place > first; place--) {
          const before = values[place - 1];
          if (before > value || (before === value && indices[place - 1] < cluster)) break;
          values[place] = before;
          indices[place] = indices[place - 1];
        }
        values[place] = value;
        indices[place] = cluster;
      }
      counts[point] = kept;
    }
  };
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
 * @param points (points, coordinates)
 * @param index the centroids
 * @param assignments (points), in [0, clusters), or -1 for none
 * @returns (points), 0 where there is no centroid; cost O(entries)
 */
export function similaritiesToOwn(
  { matrix, scales }: Points,
  index: CentroidIndex,
  assignments: Int32Array,
): Float64Array {
  const byCluster = transposeCsr(index.postings); // (clusters, coordinates), of length 1 for the cosine
  const similarities = new Float64Array(matrix.rows);
  const centroid = new Float64Array(matrix.columns); // the one at hand
  const rows = Int32Array.from(similarities.keys());
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
