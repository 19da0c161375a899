/** How the learning rate moves over training. */
export interface Schedule {
  readonly kind: 'plateau' | 'cosine' | 'constant';
  /** The highest rate. */
  readonly learningRate: number;
  /** Steps over which the rate first rises linearly from near zero. */
  readonly warmupSteps: number;
  /** Steps of the whole training, at most. */
  readonly totalSteps: number;
  /** `plateau`: the step from which the rate falls; by default the latest at which it can still reach zero. */
  readonly decayFrom?: number;
}

/** Under `plateau` the rate falls over this share of the steps before. */
const decayShare = 0.25;

/**
 * The learning rate of a step.
 *
 * `rate · (step + 1) / warmup` while warming up; then constant; or half a cosine from `rate` to 0 over the remaining
 * steps (Loshchilov and Hutter 2017, equation 5, without restarts); or, with `plateau`, constant and then linear to 0
 * over a quarter of the steps before (the trapezoid of Zhai et al. 2022; Hägele et al. 2024).
 *
 * @param step 0 for the first
 */
export function learningRateAt(step: number, schedule: Schedule): number {
  const { kind, learningRate, warmupSteps, totalSteps } = schedule;
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  if (kind === 'constant') return learningRate;
  if (kind === 'plateau') {
    const from = decayStart(schedule);
    const left = lastStepOf(schedule) - from;
    return learningRate * Math.min(1, Math.max(0, 1 - (step - from) / (left + 1)));
  }
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  return (learningRate * (1 + Math.cos(Math.PI * Math.min(1, progress)))) / 2;
}

/** The number of steps after which the schedule is at its end. */
export function lastStepOf(schedule: Schedule): number {
  if (schedule.kind !== 'plateau') return schedule.totalSteps;
  return Math.min(schedule.totalSteps, Math.ceil(decayStart(schedule) * (1 + decayShare)));
}

function decayStart({ totalSteps, decayFrom }: Schedule): number {
  const latest = Math.ceil(totalSteps / (1 + decayShare));
  return decayFrom === undefined ? latest : Math.min(decayFrom, latest);
}
