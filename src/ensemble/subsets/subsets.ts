import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { type CsrMatrix, createCsrBuilder, csrRow, selectCsrRows, shareCsr } from '../../math/csr.js';
import {
  type Distance,
  indexCentroids,
  moveCentroids,
  preparePoints,
  sortByCluster,
} from '../../math/kmeans/centroids.js';
import { onlineKMeans } from '../../math/kmeans/online-kmeans.js';
import { nearestCentroids, nearestPoints, similaritiesToOwn } from '../../math/kmeans/similarities.js';
import { createRowThreads, threadsFor } from '../../math/row-threads.js';
import { classColumns, confusionMasses } from '../confusion/class-columns.js';
import { balancedPartition, type MassBound } from './balanced-partition.js';
import { checkBounds, type SizeBounds } from './bounds.js';

/** The classes S^m of one specialist. */
export interface Subset {
  readonly id: number;
  readonly classes: readonly number[]; // most typical first
}

/** What both ways of making subsets can be told. */
export interface SubsetOptions {
  readonly seed: number;
  /** Default `cosine`. */
  readonly distance?: Distance;
  /** Passes of online k-means over the columns; default 1. */
  readonly epochs?: number;
}

/**
 * Cuts the classes into subsets of classes that the generalist confuses, of sizes bounded from both sides.
 *
 * Online k-means over the columns of the affinity matrix ({@link classColumns}), then rounds of assigning
 * the columns to the centroids under the bounds ({@link balancedPartition}) and moving each centroid to the
 * mean of its columns, as long as that brings columns nearer. Without bounds a generalist that is sure of
 * itself, whose columns have little in common, yields one subset of most classes.
 *
 * @param affinity (classes, classes), from `covarianceAffinity` or `confusionAffinity`
 * @param options.clusters how many subsets
 * @param options.minSize least classes of a subset; default a quarter of the average
 * @param options.maxSize most classes of a subset; default twice the average
 * @param options.maxMass most confusion of a subset, in means of all subsets ({@link confusionMasses}): classes that are
 *   confused much share it with fewer others. Default none. Raised where classes cannot be packed so evenly
 * @param options.rounds most rounds of balancing; default 5
 * @returns every class in exactly one subset. A class that is confused with no other goes where there is
 *   room, and stands last
 * @throws KdSpecError `subsets-invalid` when no partition keeps to the bounds
 *
 * Cost: {@link onlineKMeans} and, per round, as much as one pass of it and O(classes log classes).
 *
 * Source: Hinton et al. 2015, section 5.3; the bounds are ours.
 *
 * @example
 * const affinity = {
 *   rows: 4,
 *   columns: 4,
 *   offsets: Int32Array.of(0, 1, 2, 3, 4),
 *   indices: Int32Array.of(1, 0, 3, 2), // 0 is confused with 1, and 2 with 3
 *   values: Float32Array.of(0.5, 0.5, 0.5, 0.5),
 * };
 * partitionSubsets(affinity, { clusters: 2, seed: 1 }).map(({ classes }) => classes.length); // [2, 2]
 */
export function partitionSubsets(affinity: CsrMatrix, options: PartitionOptions): Subset[] {
  return partitionColumns(classColumns(affinity), options);
}

/** What {@link partitionSubsets} can be told. */
export type PartitionOptions = SubsetOptions &
  Partial<SizeBounds> & { readonly clusters: number; readonly maxMass?: number; readonly rounds?: number };

/** {@link partitionSubsets} of what {@link classColumns} made, (classes, classes). */
export function partitionColumns(columns: CsrMatrix, options: PartitionOptions): Subset[] {
  const { clusters, seed, distance = 'cosine', epochs = 1, rounds = 5 } = options;
  const classes = columns.rows;
  const bounds = {
    minSize: options.minSize ?? Math.max(1, Math.floor(classes / clusters / 4)),
    maxSize: options.maxSize ?? Math.min(classes, 2 * Math.ceil(classes / clusters)),
  };
  checkBounds(classes, clusters, bounds);
  const massBound =
    options.maxMass === undefined ? undefined : boundMasses(columns, clusters, options.maxMass);

  const count = threadsFor(columns.indices.length);
  const points = preparePoints(count > 1 ? shareCsr(columns) : columns, distance);
  const confused = confusedClasses(columns);
  const found = clusterColumns(columns, confused, { clusters, seed, distance, epochs });
  let { centroids } = found;
  let assignments = found.assignments;
  let similarities: Float64Array = new Float64Array(classes);
  const threads = createRowThreads(count);
  try {
    for (let round = 0; round < Math.max(1, rounds); round++) {
      const order = sortByCluster(assignments, clusters);
      const nearest = nearestCentroids(points, centroids, { candidates: 32, order, threads });
      const placed = balancedPartition(nearest, bounds, massBound);
      centroids = moveCentroids(points, confused, placed, centroids, new Int32Array(clusters));
      const reached = similaritiesToOwn(points, indexCentroids(centroids, distance), placed);
      if (round > 0 && sum(reached) <= sum(similarities) * (1 + 1e-4)) break;
      assignments = placed;
      similarities = reached;
    }
  } finally {
    threads.dispose();
  }

  const isConfused = new Uint8Array(classes);
  for (const label of confused) isConfused[label] = 1;
  const members: number[][] = Array.from({ length: clusters }, () => []);
  assignments.forEach((cluster, label) => {
    members[cluster].push(label);
  });
  return members.map((labels, id) => ({
    id,
    classes: labels.sort(
      (a, b) => isConfused[b] - isConfused[a] || similarities[b] - similarities[a] || a - b,
    ),
  }));
}

/**
 * The paper's subsets: for each specialist the columns nearest to one centroid, always as many.
 *
 * Subsets may overlap, and need not cover every class. A centroid with fewer than `size` columns that have
 * anything in common with it is filled up with classes that are in no subset yet, confused ones first.
 *
 * @param affinity (classes, classes), from `covarianceAffinity` or `confusionAffinity`
 * @param options.specialists how many subsets; 61 in the paper
 * @param options.size classes of each; 300 in the paper
 * @throws KdSpecError `subsets-invalid` when size or specialists do not lie between 1 and classes
 *
 * Cost: {@link onlineKMeans} and as much as one pass of it.
 *
 * Source: Hinton et al. 2015, sections 5.3 and 5.5.
 *
 * @example
 * const affinity = {
 *   rows: 4,
 *   columns: 4,
 *   offsets: Int32Array.of(0, 1, 2, 3, 4),
 *   indices: Int32Array.of(1, 0, 3, 2), // 0 is confused with 1, and 2 with 3
 *   values: Float32Array.of(0.5, 0.5, 0.5, 0.5),
 * };
 * fixedSizeSubsets(affinity, { specialists: 2, size: 3, seed: 1 }).map(({ classes }) => classes.length); // [3, 3]
 */
export function fixedSizeSubsets(affinity: CsrMatrix, options: FixedSizeOptions): Subset[] {
  return fixedSizeColumns(classColumns(affinity), options);
}

/** What {@link fixedSizeSubsets} can be told. */
export type FixedSizeOptions = SubsetOptions & { readonly specialists: number; readonly size: number };

/** {@link fixedSizeSubsets} of what {@link classColumns} made, (classes, classes). */
export function fixedSizeColumns(columns: CsrMatrix, options: FixedSizeOptions): Subset[] {
  const { specialists, size, seed, distance = 'cosine', epochs = 1 } = options;
  const classes = columns.rows;
  for (const [name, value] of Object.entries({ specialists, size })) {
    if (Number.isInteger(value) && value >= 1 && value <= classes) continue;
    throw new KdSpecError(
      'subsets-invalid',
      `expected ${name} from 1 to ${classes}, the number of classes, but got ${value}`,
    );
  }
  const confused = confusedClasses(columns);
  const { centroids } = clusterColumns(columns, confused, { clusters: specialists, seed, distance, epochs });
  const nearest = nearestPoints(columns, centroids, { distance, size });
  const subsets = Array.from({ length: specialists }, (_, id) => [...csrRow(nearest, id).indices]);

  const fillers = fillingOrder(classes, { confused, subsets, seed });
  let next = 0;
  for (const subset of subsets) {
    const isMember = new Set(subset);
    for (; subset.length < size; next++) {
      const label = fillers[next % classes];
      if (isMember.has(label)) continue;
      isMember.add(label);
      subset.push(label);
    }
  }
  return subsets.map((labels, id) => ({ id, classes: labels }));
}

/** @param most in means of all subsets */
function boundMasses(columns: CsrMatrix, clusters: number, most: number): MassBound {
  const masses = confusionMasses(columns);
  return { masses, maxMass: (most * sum(masses)) / clusters };
}

/** The classes that are confused with another one: those with a column. */
function confusedClasses({ rows, offsets }: CsrMatrix): Int32Array {
  const labels = Int32Array.from({ length: rows }, (_, label) => label);
  return labels.filter((label) => offsets[label + 1] > offsets[label]);
}

/**
 * Clusters the columns of the confused classes.
 *
 * @returns centroids (clusters, classes), with empty rows if there are too few columns, and assignments (classes),
 *   -1 for the others
 */
function clusterColumns(
  columns: CsrMatrix,
  confused: Int32Array,
  {
    clusters,
    seed,
    distance,
    epochs,
  }: { clusters: number; seed: number; distance: Distance; epochs: number },
): { readonly centroids: CsrMatrix; readonly assignments: Int32Array } {
  const found = Math.min(clusters, confused.length);
  const builder = createCsrBuilder(columns.columns);
  const assignments = new Int32Array(columns.rows).fill(-1);
  if (found > 0) {
    const points = confused.length === columns.rows ? columns : selectCsrRows(columns, confused);
    const { centroids, assignments: ofConfused } = onlineKMeans(points, {
      clusters: found,
      seed,
      distance,
      epochs,
    });
    confused.forEach((label, position) => {
      assignments[label] = ofConfused[position];
    });
    for (let cluster = 0; cluster < found; cluster++) {
      const { indices, values } = csrRow(centroids, cluster);
      builder.addRow(indices, values, indices.length);
    }
  }
  for (let cluster = found; cluster < clusters; cluster++) builder.addRow([], [], 0);
  return { centroids: builder.finish(), assignments };
}

/** All classes: those in no subset before the others, confused ones before the others, else at random. */
function fillingOrder(
  classes: number,
  {
    confused,
    subsets,
    seed,
  }: { confused: Int32Array; subsets: readonly (readonly number[])[]; seed: number },
): Int32Array {
  const rank = new Uint8Array(classes).fill(1);
  for (const label of confused) rank[label] = 0;
  for (const label of subsets.flat()) rank[label] = 2;
  const order = Int32Array.from({ length: classes }, (_, label) => label);
  return createRandom(seed, 'fill-subsets')
    .shuffle(order)
    .sort((a, b) => rank[a] - rank[b]);
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
