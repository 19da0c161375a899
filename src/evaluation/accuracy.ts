import { createMean } from './mean.js';
import { rankOf } from './rank.js';

/** The accuracy of one predictor over all classes, fractions in [0, 1]. */
export interface Accuracy {
  readonly top1: number;
  readonly top1StandardError: number;
  readonly top5: number;
  readonly top5StandardError: number;
}

/** Test accuracy of generalist and ensemble on the same examples. */
export interface TestAccuracy {
  readonly examples: number;
  readonly generalist: Accuracy;
  readonly ensemble: Accuracy;
  /** Ensemble minus generalist; the standard error is that of paired differences. */
  readonly difference: Accuracy;
  /** Top-1 gain over the generalist's top-1; absent when that is 0. */
  readonly relativeGain?: number;
}

/** What both predictors made of one example: 0 is the most probable class. */
export interface Ranks {
  readonly generalist: number;
  readonly ensemble: number;
}

/**
 * Test accuracy: every example, every class.
 *
 * `add` takes the label and both distributions, of shape (classes), and returns the label's ranks in them.
 */
export function createTestAccuracy() {
  const means = { generalist: createTopMeans(), ensemble: createTopMeans(), difference: createTopMeans() };
  return {
    add(label: number, generalist: ArrayLike<number>, ensemble: ArrayLike<number>): Ranks {
      const ranks = { generalist: rankOf(generalist, label), ensemble: rankOf(ensemble, label) };
      const before = { top1: Number(ranks.generalist < 1), top5: Number(ranks.generalist < 5) };
      const after = { top1: Number(ranks.ensemble < 1), top5: Number(ranks.ensemble < 5) };
      means.generalist.add(before.top1, before.top5);
      means.ensemble.add(after.top1, after.top5);
      means.difference.add(after.top1 - before.top1, after.top5 - before.top5);
      return ranks;
    },
    result(): TestAccuracy {
      const generalist = means.generalist.result();
      const difference = means.difference.result();
      return {
        examples: means.generalist.top1.examples,
        generalist,
        ensemble: means.ensemble.result(),
        difference,
        ...relativeGain(generalist.top1, difference.top1),
      };
    },
  };
}

/** `{ relativeGain }`, or nothing when there is nothing to relate it to. */
export function relativeGain(before: number, difference: number): { relativeGain?: number } {
  return before > 0 ? { relativeGain: difference / before } : {};
}

/** Accuracy of one predictor: `add` takes the label and its distribution or logits, (classes). */
export function createAccuracy() {
  const means = createTopMeans();
  return {
    add(label: number, scores: ArrayLike<number>): void {
      const rank = rankOf(scores, label);
      means.add(Number(rank < 1), Number(rank < 5));
    },
    result: () => means.result(),
  };
}

function createTopMeans() {
  const top1 = createMean();
  const top5 = createMean();
  return {
    top1,
    add(first: number, firstFive: number) {
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
