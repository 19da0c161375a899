import { createMean } from '../math/mean.js';
import { isFirstWithin } from '../math/rank.js';
import { relativeGain, type Top1, top1Of } from './accuracy.js';

/** Conditional accuracy of the three predictors, over the same pairs. */
export interface ConditionalAccuracy {
  /** Test examples whose label lies in at least one subset. */
  readonly examples: number;
  /** (example, specialist) pairs over which is averaged; more than examples where subsets overlap. */
  readonly pairs: number;
  readonly generalist: Top1;
  readonly specialists: Top1;
  readonly ensemble: Top1;
  /** Ensemble minus generalist, paired. */
  readonly difference: Top1;
  /** The gain over the generalist's accuracy; absent when that is 0. */
  readonly relativeGain?: number;
}

/** What a specialist whose subset holds the label predicts. */
export interface CoveringPrediction {
  /** (s), its subset. */
  readonly classes: ArrayLike<number>;
  /** (s + 1), the dustbin last. */
  readonly probabilities: ArrayLike<number>;
}

/** Who is right about one (example, specialist) pair when only the specialist's classes are allowed. */
export interface PairOutcome {
  readonly generalist: 0 | 1;
  readonly specialist: 0 | 1;
  readonly ensemble: 0 | 1;
}

/**
 * Conditional accuracy, as the paper has it: only examples whose label belongs to the specialist's classes,
 * and predictions restricted to those classes.
 *
 * A pair (example, specialist m with the label in S^m) is right when the label is the most probable class
 * of S^m: under `p^g`, under `p^m` without its dustbin, and under q. Averaged over all pairs; the standard
 * error takes pairs of one example as dependent. Ties go to the lower class.
 *
 * `add` takes the label, both distributions over all classes, and the predictions of *every* specialist that
 * covers the label, active or not; it returns the outcomes in the same order.
 *
 * Source: Hinton, Vinyals and Dean (2015), section 5.5, table 3.
 */
export function createConditionalAccuracy() {
  const means = { generalist: createMean(), specialist: createMean(), ensemble: createMean() };
  const difference = createMean();
  return {
    add(
      label: number,
      generalist: ArrayLike<number>,
      ensemble: ArrayLike<number>,
      covering: readonly CoveringPrediction[],
    ): readonly PairOutcome[] {
      if (covering.length === 0) return [];
      const outcomes = covering.map(({ classes, probabilities }): PairOutcome => {
        const right = (at: (i: number) => number) => (isFirstWithin(classes, at, label) ? 1 : 0);
        return {
          generalist: right((i) => generalist[classes[i]]),
          specialist: right((i) => probabilities[i]),
          ensemble: right((i) => ensemble[classes[i]]),
        };
      });
      const total = (who: keyof PairOutcome) => outcomes.reduce((sum, outcome) => sum + outcome[who], 0);
      for (const who of ['generalist', 'specialist', 'ensemble'] as const) {
        means[who].add(total(who), covering.length);
      }
      difference.add(total('ensemble') - total('generalist'), covering.length);
      return outcomes;
    },
    result(): ConditionalAccuracy {
      const generalist = top1Of(means.generalist);
      const gain = top1Of(difference);
      return {
        examples: difference.examples,
        pairs: difference.trials,
        generalist,
        specialists: top1Of(means.specialist),
        ensemble: top1Of(means.ensemble),
        difference: gain,
        ...relativeGain(generalist.top1, gain.top1),
      };
    },
  };
}
