import { moveCentroids } from '../../math/centroid-means.js';
import { similaritiesToOwn } from '../../math/centroid-similarities.js';
import { type CsrMatrix, selectCsrRows } from '../../math/csr.js';
import { createCsrBuilder } from '../../math/csr-builder.js';
import { type Distance, preparePoints } from '../../math/kmeans-points.js';
import { classColumns } from '../confusion/class-columns.js';
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
 * @returns confusionInside is 0 when nothing is confused; cost O(entries x subsets a class is in)
 */
export function summariseSubsets(
  subsets: readonly Subset[],
  affinity: CsrMatrix,
  { distance = 'cosine' }: { readonly distance?: Distance } = {},
): SubsetSummary {
  const classes = affinity.rows;
  const memberships: number[][] = Array.from({ length: classes }, () => []); // subsets of each class
  subsets.forEach(({ classes: labels }, position) => {
    for (const label of labels) memberships[label].push(position);
  });

  let all = 0;
  let inside = 0;
  for (let i = 0; i < classes; i++) {
    for (let k = affinity.offsets[i]; k < affinity.offsets[i + 1]; k++) {
      const j = affinity.indices[k];
      const mass = affinity.values[k];
      if (j === i || mass <= 0) continue;
      all += mass;
      if (memberships[i].some((position) => memberships[j].includes(position))) inside += mass;
    }
  }

  const sizes = subsets.map(({ classes: labels }) => labels.length).sort((a, b) => a - b);
  return {
    subsets: subsets.length,
    sizes: {
      least: sizes[0] ?? 0,
      median: ((sizes[(sizes.length - 1) >> 1] ?? 0) + (sizes[sizes.length >> 1] ?? 0)) / 2,
      most: sizes[sizes.length - 1] ?? 0,
    },
    coverage: memberships.filter((positions) => positions.length > 0).length / classes,
    confusionInside: all > 0 ? inside / all : 0,
    inertia: inertiaOf(subsets, classColumns(affinity), distance),
  };
}

/** Sum of the distances of columns to the mean of their subset; columns of zeros are left out. */
function inertiaOf(subsets: readonly Subset[], columns: CsrMatrix, distance: Distance): number {
  const members = subsets.flatMap(({ classes }, position) =>
    classes
      .filter((label) => columns.offsets[label + 1] > columns.offsets[label])
      .map((label) => ({ label, position })),
  );
  const matrix = selectCsrRows(
    columns,
    members.map(({ label }) => label),
  ); // (members, classes)
  const points = preparePoints(matrix, distance);
  const assignments = Int32Array.from(members, ({ position }) => position);
  const rows = Int32Array.from(members.keys());
  const none = createCsrBuilder(columns.columns);
  for (const _ of subsets) none.addRow([], [], 0);
  const counts = new Int32Array(subsets.length);
  const means = moveCentroids(points, rows, assignments, none.finish(), counts, { entries: Infinity });
  const similarities = similaritiesToOwn(matrix, means, assignments, distance);
  return similarities.reduce(
    (sum, similarity, row) =>
      sum + Math.max(0, distance === 'cosine' ? 1 - similarity : points.squaredNorms[row] - 2 * similarity),
    0,
  );
}
