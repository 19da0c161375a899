import type { MeanAccumulator } from '../math/mean.js';
import { type Accuracy, createAccuracy, createTopMeans } from '../models/accuracy.js';

/** Top-1 accuracy with its standard error, fractions in [0, 1]. */
export interface Top1 {
  readonly top1: number;
  readonly top1StandardError: number;
}

/** The mean of zeros and ones, or of their differences, as an accuracy. */
export function top1Of(mean: MeanAccumulator): Top1 {
  const { mean: top1, standardError } = mean.estimate();
  return { top1, top1StandardError: standardError };
}

/** Test accuracy of generalist and ensemble on the same examples. */
export interface TestAccuracy {
  readonly examples: number;
  /** Classes that have an example; absent in reports of version 0.1. */
  readonly classes?: number;
  readonly generalist: Accuracy;
  readonly ensemble: Accuracy;
  /** Ensemble minus generalist; the standard error is that of paired differences. */
  readonly difference: Accuracy;
  /** Top-1 gain over the generalist's top-1; absent when that is 0. */
  readonly relativeGain?: number;
  /** Examples that the generalist gets wrong and the ensemble right. */
  readonly fixed?: number;
  /** The other way round. */
  readonly broken?: number;
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
  const generalists = createAccuracy();
  const ensembles = createAccuracy();
  const differences = createTopMeans();
  const labels = new Set<number>();
  let [fixed, broken] = [0, 0];
  return {
    add(label: number, generalist: ArrayLike<number>, ensemble: ArrayLike<number>): Ranks {
      const ranks = {
        generalist: generalists.add(label, generalist),
        ensemble: ensembles.add(label, ensemble),
      };
      const gain = (top: number) => Number(ranks.ensemble < top) - Number(ranks.generalist < top);
      differences.add(gain(1), gain(5));
      labels.add(label);
      if (gain(1) > 0) fixed++;
      if (gain(1) < 0) broken++;
      return ranks;
    },
    result(): TestAccuracy {
      const generalist = generalists.result();
      const difference = differences.result();
      return {
        examples: generalists.examples,
        classes: labels.size,
        generalist,
        ensemble: ensembles.result(),
        difference,
        ...relativeGain(generalist.top1, difference.top1),
        fixed,
        broken,
      };
    },
  };
}

/** `{ relativeGain }`, or nothing when there is nothing to relate it to. */
export function relativeGain(before: number, difference: number): { relativeGain?: number } {
  return before > 0 ? { relativeGain: difference / before } : {};
}
