import { KdSpecError } from '../core/errors.js';
import { createMean } from '../math/mean.js';
import { rankOf } from '../math/rank.js';
import type { Classifier, ImageBatch } from './classifier.js';

/** The accuracy of one classifier over all classes, fractions in [0, 1]. */
export interface Accuracy {
  readonly top1: number;
  readonly top1StandardError: number;
  readonly top5: number;
  readonly top5StandardError: number;
}

/** Accumulates an {@link Accuracy}. */
export interface AccuracyAccumulator {
  readonly examples: number;
  /** Examples whose label is not the most probable class. */
  readonly errors: number;
  /**
   * Adds an example.
   *
   * @param scores (classes), probabilities or logits
   * @returns the label's rank in them: 0 when it comes first. Ties go to the lower class.
   */
  add(label: number, scores: ArrayLike<number>): number;
  /** Of no example: zeros. */
  result(): Accuracy;
}

/** Creates an empty accuracy: the one way in which evaluation, distillation and stages count what is right. */
export function createAccuracy(): AccuracyAccumulator {
  const means = createTopMeans();
  return {
    get examples() {
      return means.top1.examples;
    },
    get errors() {
      return means.top1.examples - means.top1.sum;
    },
    add(label, scores) {
      const rank = rankOf(scores, label);
      means.add(Number(rank < 1), Number(rank < 5));
      return rank;
    },
    result: () => means.result(),
  };
}

/** Means of what is right among the first class and the first five; of a paired difference, too. */
export function createTopMeans() {
  const top1 = createMean();
  const top5 = createMean();
  return {
    top1,
    add(first: number, firstFive: number): void {
      top1.add(first);
      top5.add(firstFive);
    },
    result(): Accuracy {
      const [one, five] = [top1.estimate(), top5.estimate()];
      return {
        top1: one.mean,
        top1StandardError: one.standardError,
        top5: five.mean,
        top5StandardError: five.standardError,
      };
    },
  };
}

/** Images with their classes. */
export type LabelledBatch = ImageBatch & { readonly labels: ArrayLike<number> };

/**
 * Predicts for batch after batch, in one array.
 *
 * @param each gets the label and the logits of each image, (classes), which are good during the call
 * @param options.maxRows predicts for no more images than this
 * @throws KdSpecError `interrupted` between two batches when the signal aborted, and what the classifier throws
 */
export async function predictEach(
  classifier: Classifier,
  batches: AsyncIterable<LabelledBatch>,
  each: (label: number, logits: Float32Array) => void,
  {
    signal,
    maxRows = Number.POSITIVE_INFINITY,
  }: { readonly signal: AbortSignal; readonly maxRows?: number | undefined },
): Promise<void> {
  const classes = classifier.classes.length;
  let memory = new Float32Array();
  let done = 0;
  for await (const batch of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${done} images`);
    if (memory.length < batch.count * classes) memory = new Float32Array(batch.count * classes);
    const logits = await classifier.logits(batch, { out: memory }); // (batch, classes)
    for (let row = 0; row < batch.count && done < maxRows; row++, done++)
      each(batch.labels[row], logits.subarray(row * classes, (row + 1) * classes));
    if (done >= maxRows) return;
  }
}
