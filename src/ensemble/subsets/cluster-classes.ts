import type { ThreadTask } from '../../core/thread.js';
import { type CsrMatrix, csrSubmatrix } from '../../math/csr.js';
import type { Distance } from '../../math/kmeans/centroids.js';
import { confusionOf, covarianceOf } from '../confusion/affinity.js';
import { classColumns } from '../confusion/class-columns.js';
import type { CollectedPredictions } from '../confusion/prediction-rows.js';
import { confusionInsideEach, type SubsetSummary, summariseSubsets } from './subset-summary.js';
import {
  type FixedSizeOptions,
  fixedSizeColumns,
  type PartitionOptions,
  partitionColumns,
  type Subset,
} from './subsets.js';

/** How subsets come about: from clustering, in one of two ways, or from a file. */
export type SubsetMaking =
  | ({ readonly kind: 'partition' } & PartitionOptions)
  | ({ readonly kind: 'fixed-size' } & FixedSizeOptions)
  | { readonly kind: 'given'; readonly subsets: readonly Subset[] };

/** What {@link clusterClasses} is told: plain data. */
export interface ClusterRequest {
  readonly predictions: CollectedPredictions;
  readonly affinity: 'covariance' | 'soft-confusion' | 'hard-confusion';
  readonly distance: Distance;
  /** The classes to cluster, ascending; the others are in no subset. Default all. */
  readonly labels?: Int32Array | undefined;
  readonly making: SubsetMaking;
}

/** Subsets, and what a person wants to know of them. */
export interface ClusteredClasses {
  readonly affinity: CsrMatrix; // (classes, classes)
  readonly subsets: readonly Subset[];
  readonly summary: SubsetSummary;
  /** (subsets), see {@link confusionInsideEach}. */
  readonly inside: readonly number[];
  readonly seconds: { readonly affinity: number; readonly clustering: number };
}

/**
 * From predictions to subsets: the affinity of the classes, its columns, subsets of them, and their summary. A million
 * classes take minutes without a turn of the event loop, so that it is a task for a thread.
 *
 * @throws KdSpecError what {@link partitionColumns} and {@link fixedSizeColumns} throw
 */
export const clusterClasses: ThreadTask<ClusterRequest, ClusteredClasses> = {
  module: import.meta.url,
  name: 'clusterClasses',
  run({ predictions, affinity: kind, distance, labels, making }) {
    const started = performance.now();
    const affinity =
      kind === 'covariance'
        ? covarianceOf(predictions.probabilities)
        : confusionOf(predictions, kind === 'soft-confusion' ? 'soft' : 'hard');
    const clusteringStarted = performance.now();
    const columns = classColumns(affinity); // (classes, classes)
    const subsets = makeSubsets(columns, labels, making);
    const ended = performance.now();
    return {
      affinity,
      subsets,
      summary: summariseSubsets(subsets, affinity, { distance, columns }),
      inside: confusionInsideEach(subsets, columns),
      seconds: {
        affinity: (clusteringStarted - started) / 1000,
        clustering: (ended - clusteringStarted) / 1000,
      },
    };
  },
};

function makeSubsets(
  columns: CsrMatrix,
  labels: Int32Array | undefined,
  making: SubsetMaking,
): readonly Subset[] {
  if (making.kind === 'given') return making.subsets;
  const cluster = (of: CsrMatrix) =>
    making.kind === 'partition' ? partitionColumns(of, making) : fixedSizeColumns(of, making);
  if (labels === undefined || labels.length === columns.rows) return cluster(columns);
  return cluster(csrSubmatrix(columns, labels)).map(({ id, classes }) => ({
    id,
    classes: classes.map((position) => labels[position]),
  }));
}
