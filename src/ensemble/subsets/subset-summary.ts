import { type CsrMatrix, createCsrBuilder, selectCsrRows } from '../../math/csr.js';
import { distanceAt } from '../../math/kmeans/assignment.js';
import { type Distance, indexCentroids, moveCentroids, preparePoints } from '../../math/kmeans/centroids.js';
import { similaritiesToOwn } from '../../math/kmeans/similarities.js';
import { classColumns, confusionMasses } from '../confusion/class-columns.js';
import { indexMembership, specialistsOf } from './membership.js';
import type { Subset } from './subsets.js';

/** What a person wants to know of subsets. */
export interface SubsetSummary {
  readonly subsets: number;
  /** Numbers of classes of a subset. */
  readonly sizes: { readonly least: number; readonly median: number; readonly most: number };
  /** Share of the classes that are in a subset. */
  readonly coverage: number;
  /** Share of the off-diagonal affinity between classes that have a subset in common. */
  readonly confusionInside: number;
  /** Shares of the off-diagonal affinity that the classes of a subset take part in, half for each of the two. */
  readonly masses: { readonly least: number; readonly median: number; readonly most: number };
  /** Sum of the distances of all columns, once for each subset they are in, to the mean of that subset. */
  readonly inertia: number;
}

/**
 * Sizes, coverage, and how much of what the generalist confuses the specialists will see.
 *
 * confusionInside = sum of a_ij over i ≠ j in a common subset / sum of a_ij over i ≠ j; negative entries
 * (classes predicted together less often than by chance) are no confusion and count as 0
 *
 * @param affinity (classes, classes), the matrix that the subsets were made from
 * @param options.columns (classes, classes), what {@link classColumns} makes of it, if it is at hand
 * @returns confusionInside is 0 when nothing is confused; cost O(entries x subsets a class is in)
 */
export function summariseSubsets(
  subsets: readonly Subset[],
  affinity: CsrMatrix,
  {
    distance = 'cosine',
    columns = classColumns(affinity),
  }: { readonly distance?: Distance; readonly columns?: CsrMatrix } = {},
): SubsetSummary {
  const classes = affinity.rows;
  const membership = indexMembership(subsets, classes);
  const { offsets } = membership;

  let all = 0;
  let inside = 0;
  for (let i = 0; i < classes; i++) {
    for (let k = affinity.offsets[i]; k < affinity.offsets[i + 1]; k++) {
      const j = affinity.indices[k];
      const mass = affinity.values[k];
      if (j === i || mass <= 0) continue;
      all += mass;
      if (haveOneInCommon(specialistsOf(i, membership), specialistsOf(j, membership))) inside += mass;
    }
  }

  const massOf = confusionMasses(columns);
  const total = massOf.reduce((sum, mass) => sum + mass, 0);
  // In the order in which the total was added up: the sum of a part is then never above it.
  const masses = subsets.map(({ classes: labels }) =>
    total > 0
      ? Int32Array.from(labels)
          .sort()
          .reduce((sum, label) => sum + massOf[label], 0) / total
      : 0,
  );
  return {
    subsets: subsets.length,
    sizes: spread(subsets.map(({ classes: labels }) => labels.length)),
    coverage: count(classes, (label) => offsets[label + 1] > offsets[label]) / classes,
    confusionInside: all > 0 ? inside / all : 0,
    masses: spread(masses),
    inertia: inertiaOf(subsets, columns, distance),
  };
}

function spread(values: readonly number[]): { least: number; median: number; most: number } {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    least: sorted[0] ?? 0,
    median: ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2,
    most: sorted[sorted.length - 1] ?? 0,
  };
}

/** Whether two ascending lists share a value. */
function haveOneInCommon(a: Int32Array, b: Int32Array): boolean {
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) return true;
    if (a[i] < b[j]) i++;
    else j++;
  }
  return false;
}

function count(length: number, holds: (index: number) => boolean): number {
  let found = 0;
  for (let index = 0; index < length; index++) if (holds(index)) found++;
  return found;
}

/** Sum of the distances of columns to the mean of their subset; columns of zeros are left out. */
function inertiaOf(subsets: readonly Subset[], columns: CsrMatrix, distance: Distance): number {
  const hasColumn = (label: number) => columns.offsets[label + 1] > columns.offsets[label];
  const members = subsets.flatMap(({ classes }) => classes.filter(hasColumn));
  // A partition needs no copy of the columns: each is a member once at most.
  const isPartition = new Set(members).size === members.length;
  const matrix = isPartition ? columns : selectCsrRows(columns, members); // (members, classes)
  const assignments = new Int32Array(matrix.rows).fill(-1);
  let row = 0;
  subsets.forEach(({ classes }, position) => {
    for (const label of classes) if (hasColumn(label)) assignments[isPartition ? label : row++] = position;
  });
  const points = preparePoints(matrix, distance);
  const rows = Int32Array.from(assignments.keys());
  const none = createCsrBuilder(columns.columns);
  for (const _ of subsets) none.addRow([], [], 0);
  const counts = new Int32Array(subsets.length);
  const means = moveCentroids(points, rows, assignments, none.finish(), counts, { entries: Infinity });
  const similarities = similaritiesToOwn(points, indexCentroids(means, distance), assignments);
  return similarities.reduce(
    (sum, similarity, member) =>
      assignments[member] < 0 ? sum : sum + distanceAt(-similarity, points.squaredNorms[member], distance),
    0,
  );
}

/**
 * For each subset, the share of its classes' confusion that is with one another: what its specialist can correct. The
 * rest is with classes that it does not know.
 *
 *     inside_m = sum over i ≠ j in m of max(0, a_ij) / sum over i in m, j ≠ i of max(0, a_ij)
 *
 * @param columns (classes, classes), from `classColumns`
 * @returns (subsets), 0 for a subset of classes that nothing is confused with; cost O(entries x subsets a class is in)
 */
export function confusionInsideEach(subsets: readonly Subset[], columns: CsrMatrix): number[] {
  const { offsets, indices, values } = columns;
  return subsets.map(({ classes }) => {
    const members = new Set(classes);
    let inside = 0;
    let outside = 0;
    for (const i of classes) {
      for (let k = offsets[i]; k < offsets[i + 1]; k++) {
        const j = indices[k];
        if (j === i || values[k] <= 0) continue;
        if (members.has(j)) inside += values[k];
        else outside += values[k];
      }
    }
    return inside > 0 ? inside / (inside + outside) : 0; // never above 1, however sums are rounded
  });
}
