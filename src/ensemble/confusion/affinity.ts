import { assert } from '../../core/errors.js';
import { type CsrMatrix, createCsrBuilder, shareCsr, transposeCsr } from '../../math/csr.js';
import { createRowThreads, threadsFor } from '../../math/row-threads.js';
import { type ProductOptions, sparseProduct } from '../../math/sparse-product.js';
import { type CollectedPredictions, collectPredictions, type PredictionStream } from './prediction-rows.js';

const keptEntries = 64; // of a row, by default

/** How much of an affinity matrix is kept. */
export interface AffinityOptions {
  /**
   * How many entries a row keeps, those of largest magnitude; default 64.
   *
   * More neighbours are noise for the most part: on 15,000 planted classes 256 gave no better subsets and
   * took four times as long. 64 bound the matrix of 1,000,000 classes to 0.5 GB. `Infinity` keeps all.
   */
  readonly entriesPerClass?: number;
}

/**
 * The covariance matrix of the generalist's predictions; it needs no labels.
 *
 * cov_ij = E[p_i p_j] - E[p_i] E[p_j], over the examples
 *
 * Entries are stored for pairs of classes that were predicted together, in the top k of one example at
 * least, and are exact for those rows: both terms are there. For every other pair the first term is 0 and
 * the entry is -E[p_i] E[p_j], which is below 1 / classes² where classes are equally frequent. These are
 * left out, since they alone would fill the matrix.
 *
 * @param batches rows of predictions; what is outside the top k counts as 0
 * @returns (classes, classes), symmetric unless rows were cut to `entriesPerClass`
 * @throws KdSpecError `predictions-invalid`, see {@link collectPredictions}
 *
 * Cost: O(sum over examples of k²) time; memory for the rows twice and the matrix.
 *
 * Source: Hinton et al. 2015, section 5.3.
 *
 * @example
 * const predictions = await readPredictions('kd-workspace/predictions');
 * const affinity = await covarianceAffinity(predictions.rows());
 * const subsets = partitionSubsets(affinity, { clusters: 61, minSize: 50, maxSize: 300, seed: 1 });
 */
export async function covarianceAffinity(
  batches: PredictionStream,
  { entriesPerClass }: AffinityOptions = {},
): Promise<CsrMatrix> {
  const { probabilities } = await collectPredictions(batches);
  return covarianceOf(probabilities, entriesPerClass);
}

/** {@link covarianceAffinity} of what {@link collectPredictions} collected, (examples, classes). */
export function covarianceOf(probabilities: CsrMatrix, entriesPerClass = keptEntries): CsrMatrix {
  const examples = probabilities.rows;
  const byClass = transposeCsr(probabilities); // (classes, examples)
  const means = Float64Array.from({ length: byClass.rows }, (_, label) => {
    let sum = 0;
    for (let k = byClass.offsets[label]; k < byClass.offsets[label + 1]; k++) sum += byClass.values[k];
    return sum / examples;
  });
  return product(byClass, probabilities, {
    entriesPerRow: entriesPerClass,
    divisors: new Float64Array(byClass.rows).fill(examples),
    subtract: { rows: means, columns: means },
  });
}

/**
 * The confusion matrix of the generalist: what it predicts for the examples of each class.
 *
 * - `soft`: conf_ij = mean of p_j over the examples of class i
 * - `hard`: conf_ij = number of examples of class i whose most probable class is j
 *
 * @param batches rows of predictions with labels
 * @param options.kind default `soft`
 * @returns (classes, classes), a row a true class; classes without examples have empty rows
 * @throws KdSpecError `predictions-invalid` when labels are missing, and see {@link collectPredictions}
 *
 * Cost: O(entries of the predictions).
 *
 * Source: Hinton et al. 2015, section 7, calls what is clustered the confusion matrix.
 *
 * @example
 * const probabilities = {
 *   rows: 2,
 *   columns: 2,
 *   offsets: Int32Array.of(0, 2, 3),
 *   indices: Int32Array.of(0, 1, 1),
 *   values: Float32Array.of(0.75, 0.25, 1),
 * };
 * const confusion = await confusionAffinity([{ probabilities, labels: Int32Array.of(0, 1) }]);
 * confusion.values; // [0.75, 0.25, 1]
 */
export async function confusionAffinity(
  batches: PredictionStream,
  { kind = 'soft', entriesPerClass }: AffinityOptions & { readonly kind?: 'soft' | 'hard' } = {},
): Promise<CsrMatrix> {
  return confusionOf(await collectPredictions(batches, { labels: 'required' }), kind, entriesPerClass);
}

/** {@link confusionAffinity} of what {@link collectPredictions} collected with its labels. */
export function confusionOf(
  { probabilities, labels }: CollectedPredictions,
  kind: 'soft' | 'hard',
  entriesPerClass = keptEntries,
): CsrMatrix {
  assert(labels !== undefined, 'labels were required');
  const counts = new Float64Array(probabilities.columns);
  for (const label of labels) counts[label]++;
  const byLabel = transposeCsr(indicator(labels, probabilities.columns)); // (classes, examples)
  const entriesPerRow = entriesPerClass;
  if (kind === 'soft') return product(byLabel, probabilities, { entriesPerRow, divisors: counts });
  const choices = indicator(mostProbable(probabilities), probabilities.columns); // (examples, classes)
  return product(byLabel, choices, { entriesPerRow, divisors: counts.fill(1) });
}

/** The product of two sparse matrices by as many threads as pays. */
function product(a: CsrMatrix, b: CsrMatrix, options: ProductOptions): CsrMatrix {
  const count = threadsFor(a.indices.length);
  if (count === 1) return sparseProduct(a, b, options);
  const threads = createRowThreads(count);
  try {
    return sparseProduct(shareCsr(a), shareCsr(b), { ...options, threads });
  } finally {
    threads.dispose();
  }
}

/** One entry of 1 a row, at the given column; none where it is negative. */
function indicator(chosen: Int32Array, columns: number): CsrMatrix {
  const builder = createCsrBuilder(columns, { entries: chosen.length });
  for (const column of chosen) builder.addRow([column], [1], column < 0 ? 0 : 1);
  return builder.finish();
}

/** The most probable class of each row, the lower one of equals, -1 for an empty row. */
function mostProbable({ rows, offsets, indices, values }: CsrMatrix): Int32Array {
  const best = new Int32Array(rows).fill(-1);
  for (let row = 0; row < rows; row++) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let entry = offsets[row]; entry < offsets[row + 1]; entry++) {
      if (values[entry] < largest || (values[entry] === largest && indices[entry] > best[row])) continue;
      largest = values[entry];
      best[row] = indices[entry];
    }
  }
  return best;
}
