import { KdSpecError } from '../../core/errors.js';
import type { PredictionBatch } from '../../data/predictions.js';
import type { CsrMatrix } from '../../math/csr.js';
import { createCsrBuilder } from '../../math/csr.js';
import { sharedArray } from '../../math/row-threads.js';

/** A stream of predictions, from memory or from shards. */
export type PredictionStream = Iterable<PredictionBatch> | AsyncIterable<PredictionBatch>;

/** Predictions of all rows, in memory that threads share. */
export interface CollectedPredictions {
  readonly probabilities: CsrMatrix; // (examples, classes)
  /** (examples), if all batches have them. */
  readonly labels: Int32Array | undefined;
}

/** What rounding, and storage with 32 or 16 bits, may add to a row's sum. */
const sumTolerance = 1e-2;

/**
 * Collects a stream of predictions into one sparse matrix and checks every row of it.
 *
 * @param options.labels `required` to refuse predictions without labels
 * @returns probabilities (examples, classes) and, if all batches have them, labels (examples)
 * @throws KdSpecError `predictions-invalid` for no rows at all, batches of different numbers of classes,
 *   classes out of range or twice in a row, probabilities that are no numbers from 0 to 1 or sum to more
 *   than 1, and missing or impossible labels
 *
 * Cost: O(entries) time; 8 bytes an entry, up to three times that while storage grows.
 */
export async function collectPredictions(
  batches: PredictionStream,
  { labels = 'optional' }: { readonly labels?: 'optional' | 'required' } = {},
): Promise<CollectedPredictions> {
  let builder: ReturnType<typeof createCsrBuilder> | undefined;
  let classes = 0;
  let examples = 0;
  let lastExampleWith = new Int32Array(0); // (classes), to find classes that come twice
  let everyRowHasALabel = true;
  const labelParts: Int32Array[] = [];

  for await (const batch of batches) {
    const { rows, columns, offsets, indices, values } = batch.probabilities;
    if (builder === undefined) {
      classes = columns;
      builder = createCsrBuilder(classes, { entries: values.length });
      lastExampleWith = new Int32Array(classes).fill(-1);
    }
    if (columns !== classes) {
      throw invalid(examples, `has ${columns} classes where the rows before had ${classes}`);
    }
    if (batch.labels === undefined) {
      everyRowHasALabel = false;
      if (labels === 'required') {
        throw invalid(
          examples,
          'has no label, and a confusion matrix needs labels: predict for labelled data, or use the covariance',
        );
      }
    } else {
      checkLabels(batch.labels, rows, classes, examples);
      labelParts.push(batch.labels);
    }
    for (let row = 0; row < rows; row++, examples++) {
      let sum = 0;
      for (let entry = offsets[row]; entry < offsets[row + 1]; entry++) {
        const label = indices[entry];
        const probability = values[entry];
        if (!(label >= 0 && label < classes)) {
          throw invalid(examples, `has class ${label}, expected one from 0 to ${classes - 1}`);
        }
        if (lastExampleWith[label] === examples) throw invalid(examples, `has class ${label} twice`);
        if (!(probability >= 0 && probability <= 1 + sumTolerance)) {
          throw invalid(
            examples,
            `gives class ${label} probability ${probability}, expected one from 0 to 1`,
          );
        }
        lastExampleWith[label] = examples;
        sum += probability;
      }
      if (sum > 1 + sumTolerance) {
        throw invalid(
          examples,
          `has probabilities that sum to ${sum.toFixed(3)}, expected at most 1: are they logits?`,
        );
      }
      const [start, end] = [offsets[row], offsets[row + 1]];
      builder.addRow(indices.subarray(start, end), values.subarray(start, end), end - start);
    }
  }
  if (builder === undefined || examples === 0) {
    throw new KdSpecError('predictions-invalid', 'expected rows of predictions, but there are none');
  }
  return {
    probabilities: builder.finish(),
    labels: everyRowHasALabel ? concatenate(labelParts, examples) : undefined,
  };
}

function checkLabels(labels: Int32Array, rows: number, classes: number, firstExample: number): void {
  if (labels.length !== rows) {
    throw invalid(firstExample, `starts a batch of ${rows} rows with ${labels.length} labels`);
  }
  const wrong = labels.findIndex((label) => label < 0 || label >= classes);
  if (wrong >= 0) {
    throw invalid(firstExample + wrong, `has label ${labels[wrong]}, expected one from 0 to ${classes - 1}`);
  }
}

function invalid(example: number, what: string): KdSpecError {
  return new KdSpecError('predictions-invalid', `row ${example} of the predictions ${what}`);
}

function concatenate(parts: readonly Int32Array[], length: number): Int32Array {
  const all = sharedArray(Int32Array, length);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
