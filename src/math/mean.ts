/** A mean and its standard error. */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number;
}

/** Accumulates the mean of a quantity over trials, several of which may belong to one example. */
export interface MeanAccumulator {
  /** Adds one example: the sum of the quantity over its trials, and how many trials it has (default 1). */
  add(sum: number, trials?: number): void;
  readonly examples: number;
  readonly trials: number;
  readonly sum: number;
  estimate(): Estimate;
}

/**
 * Creates an empty mean.
 *
 *     mean = sum y_e / sum n_e,   standard error = sqrt(sum (y_e - mean n_e)^2) / sum n_e
 *
 * over examples e with n_e trials that sum to y_e. Trials of one example are taken as dependent, which for
 * one trial an example is the ordinary standard error, `sqrt(p (1 - p) / n)` for a proportion. An accuracy
 * adds 0 or 1; a paired difference of accuracies adds -1, 0 or 1.
 */
export function createMean(): MeanAccumulator {
  let examples = 0;
  let trials = 0;
  let sum = 0;
  let sumSquares = 0; // of y
  let sumProducts = 0; // of y n
  let trialSquares = 0; // of n
  return {
    add(y, n = 1) {
      examples++;
      trials += n;
      sum += y;
      sumSquares += y * y;
      sumProducts += y * n;
      trialSquares += n * n;
    },
    get examples() {
      return examples;
    },
    get trials() {
      return trials;
    },
    get sum() {
      return sum;
    },
    estimate() {
      if (trials === 0) return { mean: 0, standardError: 0 };
      const mean = sum / trials;
      const spread = sumSquares - 2 * mean * sumProducts + mean * mean * trialSquares;
      return { mean, standardError: Math.sqrt(Math.max(spread, 0)) / trials };
    },
  };
}
