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
  const sums = Array.from({ length: bins }, () => ({ examples: 0, confidence: 0, correct: 0 }));
  return {
    add(confidence, isCorrect) {
      const bin = sums[Math.min(bins - 1, Math.floor(confidence * bins))];
      bin.examples++;
      bin.confidence += confidence;
      bin.correct += Number(isCorrect);
    },
    result: () => calibrationErrorOf(sums),
  };
}

/** The same of sums that were taken elsewhere: of each bin the predictions, their confidences, and those that were right. */
export function calibrationErrorOf(
  bins: readonly { readonly examples: number; readonly confidence: number; readonly correct: number }[],
): number {
  const total = bins.reduce((sum, { examples }) => sum + examples, 0);
  if (total === 0) return 0;
  return bins.reduce((sum, { confidence, correct }) => sum + Math.abs(confidence - correct), 0) / total;
}
