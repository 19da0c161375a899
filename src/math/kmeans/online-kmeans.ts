import { KdSpecError } from '../../core/errors.js';
import { createRandom, type Random } from '../../core/random.js';
import { type CsrMatrix, createCsrBuilder, selectCsrRows, shareCsr, sortCsrRows } from '../csr.js';
import { createRowThreads, sharedArray, threadsFor } from '../row-threads.js';
import {
  assignToNearest,
  type CentroidDrift,
  centroidDrift,
  createBounds,
  distanceAt,
} from './assignment.js';
import {
  type Distance,
  indexCentroids,
  moveCentroids,
  type Points,
  preparePoints,
  sortByCluster,
} from './centroids.js';
import { firstAbove, seedCentroids } from './seeding.js';
import { similaritiesToOwn } from './similarities.js';

/** What {@link onlineKMeans} can be told. */
export interface KMeansOptions {
  /** How many clusters, from 1 to the number of points. */
  readonly clusters: number;
  /** The same seed gives the same clusters on every machine. */
  readonly seed: number;
  /** Default `cosine`. */
  readonly distance?: Distance;
  /** Points between two moves of the centroids; default the larger of 1024 and four a cluster. */
  readonly batchSize?: number;
  /** Online passes over the points, each in a new random order; default 1. */
  readonly epochs?: number;
  /** Most passes afterwards in which each centroid becomes the mean of its points; default 20. */
  readonly refinements?: number;
  /** From how many points, drawn at random, seeds are chosen; default the larger of 20,000 and 20 a cluster. */
  readonly seedingSample?: number;
  /**
   * How many coordinates, the largest, a centroid keeps; default 1024. While centroids move online they keep
   * at most twice the entries of an average point, which costs little inertia and saves most of the time.
   */
  readonly centroidEntries?: number;
  /** How many threads assign points; the result is the same for any number. Default: what pays. */
  readonly threads?: number;
}

/** What {@link onlineKMeans} finds. */
export interface KMeansResult {
  readonly centroids: CsrMatrix; // (clusters, coordinates)
  readonly assignments: Int32Array; // (points), in [0, clusters), or -1
  readonly distances: Float64Array; // (points), of each point to its centroid
  readonly counts: Int32Array; // (clusters), points of each cluster
  /** Sum of the distances. */
  readonly inertia: number;
  /** Passes of refinement that were made. */
  readonly refinements: number;
}

/**
 * Clusters sparse points by online k-means: mini-batches that move each centroid at a rate of its own.
 *
 * Seeds are chosen by k-means++ ({@link seedCentroids}); each batch is assigned to the nearest centroids
 * ({@link assignToNearest}) and moves them ({@link moveCentroids}). Early points were assigned to centroids
 * that have moved since; passes of refinement over all points (Lloyd's) take that memory away and end as
 * soon as fewer than one point in 1,000 changes its cluster; bounds on how far centroids moved skip the points
 * that cannot ({@link AssignmentBounds}). A centroid without points is put on a point, drawn with probability
 * proportional to its distance.
 *
 * @param matrix (points, coordinates), a point a row, all values finite
 * @returns centroids (of length 1 for the cosine distance), assignments, counts and inertia. Under the cosine
 *   distance a row of zeros has no direction: it is assigned to -1 and adds nothing
 * @throws KdSpecError `option-invalid` for a number of clusters outside [1, points]
 *
 * Cost: per pass, the number of pairs of an entry of a point and a centroid that is not zero there.
 *
 * Source: Hinton et al. 2015, section 5.3 ("an on-line version of the K-means algorithm"); Sculley 2010.
 *
 * @example
 * const matrix = {
 *   rows: 3,
 *   columns: 2,
 *   offsets: Int32Array.of(0, 1, 2, 3),
 *   indices: Int32Array.of(0, 1, 1),
 *   values: Float32Array.of(1, 1, 2),
 * };
 * onlineKMeans(matrix, { clusters: 2, seed: 1 }).inertia; // 0
 */
export function onlineKMeans(matrix: CsrMatrix, options: KMeansOptions): KMeansResult {
  const {
    clusters,
    seed,
    distance = 'cosine',
    batchSize = Math.max(1024, 4 * clusters),
    epochs = 1,
    refinements = 20,
    seedingSample = Math.max(20_000, 20 * clusters),
    centroidEntries = 1024,
    threads = threadsFor(matrix.indices.length),
  } = options;
  if (!Number.isInteger(clusters) || clusters < 1 || clusters > matrix.rows) {
    throw new KdSpecError(
      'option-invalid',
      `expected a number of clusters from 1 to ${matrix.rows}, the number of points, but got ${clusters}`,
    );
  }
  const random = createRandom(seed, 'online-kmeans');
  const points = preparePoints(threads > 1 ? shareCsr(matrix) : matrix, distance);
  const assignments = sharedArray(Int32Array, matrix.rows).fill(-1);
  const distances = sharedArray(Float64Array, matrix.rows);
  const averageEntries = matrix.offsets[matrix.rows] / matrix.rows;
  const online = { entries: Math.min(centroidEntries, Math.ceil(2 * averageEntries)) };

  const seeds = seedCentroids(points, { clusters, random, sample: seedingSample });
  let centroids = selectCsrRows(matrix, seeds); // (clusters, coordinates)
  let counts = new Int32Array(clusters);
  let refined = 0;

  const order = sharedArray(Int32Array, matrix.rows);
  for (let row = 0; row < order.length; row++) order[row] = row;
  const helpers = createRowThreads(threads);
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      random.shuffle(order);
      for (let start = 0; start < order.length; start += batchSize) {
        const selection = order.subarray(start, start + batchSize);
        const index = indexCentroids(centroids, distance);
        assignToNearest({ points, selection, index, assignments, distances }, helpers);
        centroids = moveCentroids(points, selection, assignments, centroids, counts, online);
      }
      centroids = reseedDead(points, centroids, counts, distances, random);
    }

    order.sort();
    const bounds = createBounds(matrix.rows);
    let index = indexCentroids(centroids, distance);
    let drift: CentroidDrift | undefined;
    let hasStaleDistances = false;
    /** Assigns all points, those of one cluster after the other, since they share coordinates. */
    const assignAll = () => {
      const selection = sortByCluster(assignments, clusters);
      const known = { ...bounds, drift };
      const { changed, skipped } = assignToNearest(
        { points, selection, index, assignments, distances, bounds: known },
        helpers,
      );
      hasStaleDistances = skipped > 0;
      return changed;
    };
    const measureDistances = () => {
      const similarities = hasStaleDistances ? similaritiesToOwn(points, index, assignments) : [];
      similarities.forEach((similarity, point) => {
        if (assignments[point] < 0) return;
        distances[point] = distanceAt(-similarity, points.squaredNorms[point], distance);
      });
      hasStaleDistances = false;
    };
    let changed = assignAll();
    for (; refined < refinements && (refined === 0 || changed > matrix.rows / 1000); refined++) {
      counts = new Int32Array(clusters);
      centroids = moveCentroids(points, order, assignments, centroids, counts, { entries: centroidEntries });
      if (counts.includes(0)) measureDistances();
      centroids = reseedDead(points, centroids, counts, distances, random);
      const before = index;
      index = indexCentroids(centroids, distance);
      drift = centroidDrift(before, index);
      changed = assignAll();
    }
    measureDistances();
  } finally {
    helpers.dispose();
  }

  counts = new Int32Array(clusters);
  for (const cluster of assignments) if (cluster >= 0) counts[cluster]++;
  return {
    centroids: distance === 'cosine' ? normalised(centroids) : sortCsrRows(centroids),
    assignments,
    distances,
    counts,
    inertia: distances.reduce((sum, value) => sum + value, 0),
    refinements: refined,
  };
}

/** Puts each centroid that has no points on a point, drawn with probability proportional to its distance. */
function reseedDead(
  { matrix }: Points,
  centroids: CsrMatrix,
  counts: Int32Array,
  distances: Float64Array,
  random: Random,
): CsrMatrix {
  if (!counts.includes(0)) return centroids;
  const cumulative = new Float64Array(distances.length);
  let total = 0;
  for (let point = 0; point < distances.length; point++) cumulative[point] = total += distances[point];
  if (total === 0) return centroids;
  const builder = createCsrBuilder(matrix.columns, { entries: centroids.indices.length });
  for (let cluster = 0; cluster < counts.length; cluster++) {
    const isDead = counts[cluster] === 0;
    const row = isDead ? firstAbove(cumulative, random.uniform() * total) : cluster;
    const { offsets, indices, values } = isDead ? matrix : centroids;
    const [start, end] = [offsets[row], offsets[row + 1]];
    builder.addRow(indices.subarray(start, end), values.subarray(start, end), end - start);
  }
  return builder.finish();
}

/** Rows of length 1, columns ascending; a row of zeros stays one. */
function normalised(centroids: CsrMatrix): CsrMatrix {
  const { scales } = preparePoints(centroids, 'cosine');
  const values = centroids.values.slice();
  for (let row = 0; row < centroids.rows; row++) {
    for (let k = centroids.offsets[row]; k < centroids.offsets[row + 1]; k++) values[k] *= scales[row];
  }
  return sortCsrRows({ ...centroids, values });
}
