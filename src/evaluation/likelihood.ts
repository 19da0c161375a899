import { smallestProbability } from '../ensemble/calibration/calibration-example.js';
import { type CalibrationError, createCalibrationError } from '../math/calibration-error.js';
import { createMean, type MeanAccumulator } from '../math/mean.js';
import { firstClass } from '../math/rank.js';

/** How well the probabilities of one predictor fit the labels. */
export interface LikelihoodFit {
  /** Mean, in nats. */
  readonly negativeLogLikelihood: number;
  readonly standardError: number;
  /** Expected calibration error, from 0 to 1. */
  readonly calibrationError: number;
}

/** Of generalist and ensemble on the same examples. */
export interface Likelihood {
  readonly generalist: LikelihoodFit;
  readonly ensemble: LikelihoodFit;
}

/** Accumulates the {@link LikelihoodFit} of one predictor: `add` takes the label and its distribution, (classes). */
export function createLikelihoodFit() {
  const mean: MeanAccumulator = createMean();
  const error: CalibrationError = createCalibrationError();
  return {
    add(label: number, probabilities: ArrayLike<number>): void {
      const first = firstClass(probabilities);
      mean.add(-Math.log(Math.max(probabilities[label], smallestProbability)));
      error.add(probabilities[first], first === label);
    },
    result(): LikelihoodFit {
      const { mean: negativeLogLikelihood, standardError } = mean.estimate();
      return { negativeLogLikelihood, standardError, calibrationError: error.result() };
    },
  };
}
