import { assert } from '../../core/errors.js';
import type { CsrMatrix } from '../../math/csr.js';
import { transposeCsr } from '../../math/csr.js';
import { createCsrBuilder } from '../../math/csr-builder.js';
import { keepLargest } from '../../math/keep-largest.js';
import { collectPredictions, type PredictionStream } from './prediction-rows.js';

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
 * const affinity = await covarianceAffinity(batches);
 * const subsets = partitionSubsets(affinity, { clusters: 61, minSize: 50, maxSize: 300, seed: 1 });
 */
export async function covarianceAffinity(
  batches: PredictionStream,
  { entriesPerClass = 64 }: AffinityOptions = {},
): Promise<CsrMatrix> {
  const { probabilities } = await collectPredictions(batches);
  const examples = probabilities.rows;
  const byClass = transposeCsr(probabilities); // (classes, examples)
  const means = Float64Array.from({ length: byClass.rows }, (_, label) => {
    const mass = byClass.values.subarray(byClass.offsets[label], byClass.offsets[label + 1]);
    return mass.reduce((sum, value) => sum + value, 0) / examples;
  });
  return weightedRowSums(byClass, probabilities, {
    entriesPerClass,
    entry: (row, column, sum) => sum / examples - means[row] * means[column],
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
 */
export async function confusionAffinity(
  batches: PredictionStream,
  { kind = 'soft', entriesPerClass = 64 }: AffinityOptions & { readonly kind?: 'soft' | 'hard' } = {},
): Promise<CsrMatrix> {
  const { probabilities, labels } = await collectPredictions(batches, { labels: 'required' });
  assert(labels !== undefined, 'labels were required');
  const counts = new Int32Array(probabilities.columns);
  for (const label of labels) counts[label]++;
  const byLabel = transposeCsr(indicator(labels, probabilities.columns)); // (classes, examples)
  return kind === 'soft'
    ? weightedRowSums(byLabel, probabilities, {
        entriesPerClass,
        entry: (row, _column, sum) => sum / counts[row],
      })
    : weightedRowSums(byLabel, indicator(mostProbable(probabilities), probabilities.columns), {
        entriesPerClass,
        entry: (_row, _column, sum) => sum,
      });
}

/** The product of two sparse matrices, row by row over a dense accumulator, its entries mapped and cut. */
function weightedRowSums(
  weights: CsrMatrix, // (classes, examples)
  examples: CsrMatrix, // (examples, classes)
  {
    entriesPerClass,
    entry: finish,
  }: {
    readonly entriesPerClass: number;
    readonly entry: (row: number, column: number, sum: number) => number;
  },
): CsrMatrix {
  const classes = examples.columns;
  const sums = new Float64Array(classes);
  const owner = new Int32Array(classes).fill(-1); // the row that last used a column
  const touched = new Int32Array(classes);
  const values = new Float64Array(classes);
  const scratch = new Float64Array(classes);
  const builder = createCsrBuilder(classes, { entries: examples.indices.length });

  for (let row = 0; row < weights.rows; row++) {
    let count = 0;
    for (let k = weights.offsets[row]; k < weights.offsets[row + 1]; k++) {
      const example = weights.indices[k];
      const weight = weights.values[k];
      for (let entry = examples.offsets[example]; entry < examples.offsets[example + 1]; entry++) {
        const column = examples.indices[entry];
        if (owner[column] !== row) {
          owner[column] = row;
          touched[count++] = column;
          sums[column] = 0;
        }
        sums[column] += weight * examples.values[entry];
      }
    }
    for (let k = 0; k < count; k++) values[k] = finish(row, touched[k], sums[touched[k]]);
    builder.addRow(touched, values, keepLargest(touched, values, count, entriesPerClass, scratch));
  }
  return transposeCsr(transposeCsr(builder.finish())); // columns ascending
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
