/** How the learning rate moves over training. */
export interface Schedule {
  readonly kind: 'cosine' | 'constant';
  /** The highest rate. */
  readonly learningRate: number;
  /** Steps over which the rate first rises linearly from near zero. */
  readonly warmupSteps: number;
  /** Steps of the whole training. */
  readonly totalSteps: number;
}

/**
 * The learning rate of a step.
 *
 * `rate · (step + 1) / warmup` while warming up; then constant, or half a cosine from `rate` to 0 over the
 * remaining steps (Loshchilov and Hutter 2017, equation 5, without restarts).
 *
 * @param step 0 for the first
 */
export function learningRateAt(
  step: number,
  { kind, learningRate, warmupSteps, totalSteps }: Schedule,
): number {
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  if (kind === 'constant') return learningRate;
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  return (learningRate * (1 + Math.cos(Math.PI * Math.min(1, progress)))) / 2;
}
