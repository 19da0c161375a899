import type { OptimizerKind } from './optimizer-kind.js';
import type { Schedule } from './schedule.js';
import type { TrainingPlan } from './train.js';

/** What is chosen of a training, whatever it trains. */
export interface TrainingOptions {
  /** At most, where validation ends the training. */
  readonly epochs: number;
  readonly batchSize: number;
  readonly optimizer: OptimizerKind;
  /** The highest. */
  readonly learningRate: number;
  readonly schedule: Schedule['kind'];
  /** Share of all steps. */
  readonly warmup: number;
  readonly weightDecay: number;
  readonly labelSmoothing: number;
  /** Largest length of a hidden unit's incoming weights; no limit by default. */
  readonly maxNorm?: number | null;
  readonly seed: number;
}

/**
 * The plan of a training.
 *
 * @param of what the options do not say: how long an epoch is, what is trained, on what
 */
export function planTraining(
  {
    seed,
    epochs,
    learningRate,
    schedule: kind,
    warmup,
    weightDecay,
    labelSmoothing,
    maxNorm,
  }: TrainingOptions,
  of: Pick<TrainingPlan, 'stepsPerEpoch' | 'from' | 'batches'> &
    Partial<Pick<TrainingPlan, 'stopping' | 'sampledClasses'>>,
): TrainingPlan {
  const totalSteps = epochs * of.stepsPerEpoch;
  // How long a training by plateau will be is not known beforehand, so that its share has a bound.
  const mostWarmup = kind === 'plateau' ? of.stepsPerEpoch : totalSteps;
  const warmupSteps = Math.min(Math.round(warmup * totalSteps), mostWarmup);
  return {
    ...of,
    seed,
    epochs,
    schedule: { kind, learningRate, warmupSteps, totalSteps },
    weightDecay,
    labelSmoothing,
    maxNorm: maxNorm ?? null,
  };
}
