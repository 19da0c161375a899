/** Accumulates how far confidence and accuracy lie apart. */
export interface CalibrationError {
  /** Adds one answer: the probability of the first class, from 0 to 1, and whether that class was right. */
  add(confidence: number, isCorrect: boolean): void;
  /** The expected calibration error, from 0 to 1; 0 without any answer. */
  result(): number;
}

/**
 * Creates an empty expected calibration error.
 *
 *     sum over bins b of  n_b / n  |mean confidence of b - accuracy of b|
 *
 * with bins of equal width over the confidence, the probability of the first class.
 *
 * @param bins number of bins, 15 as in the source
 *
 * Source: Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks", equation 3.
 *
 * @example
 * const error = createCalibrationError();
 * error.add(0.8, true);
 * error.add(0.8, false);
 * error.result(); // 0.3
 */
export function createCalibrationError(bins = 15): CalibrationError {
  const excess = new Float64Array(bins); // sum of confidence minus sum of correct answers
  let answers = 0;
  return {
    add(confidence, isCorrect) {
      const bin = Math.min(bins - 1, Math.floor(confidence * bins));
      excess[bin] += confidence - Number(isCorrect);
      answers++;
    },
    result() {
      if (answers === 0) return 0;
      return excess.reduce((sum, value) => sum + Math.abs(value), 0) / answers;
    },
  };
}
