import { KdSpecError } from '../../core/errors.js';
import type { FusionRule } from '../fusion/fusion-rules.js';
import {
  type CalibrationExample,
  type CompactExample,
  compactExample,
  type Outcome,
  outcome,
  temperedGeneralist,
} from './calibration-example.js';
import { type CalibrationFit, createCalibrationFit } from './calibration-fit.js';

export type { CalibrationExample } from './calibration-example.js';

/** What validation decided about one specialist. Gains are with it against without it, where it is active. */
export interface SpecialistCalibration {
  readonly id: number;
  readonly temperature: number;
  /** The same for all. */
  readonly weight: number;
  /** Whether it takes part at inference. */
  readonly kept: boolean;
  /** Validation examples on which it is active. */
  readonly examples: number;
  /** Mean gain in log-likelihood of the fused distribution, nats an example, and its standard error. */
  readonly gain: number;
  readonly standardError: number;
  /** Mean gain in top-1 accuracy, and its standard error. */
  readonly top1Gain: number;
  readonly top1StandardError: number;
}

/** Everything that is chosen on validation, and how well it does there. */
export interface Calibration {
  readonly rule: FusionRule;
  readonly generalistTemperature: number;
  readonly specialists: readonly SpecialistCalibration[];
  readonly examples: number;
  /** Mean negative log-likelihood in nats, and top-1 accuracy, on the examples of the fit. */
  readonly generalist: { readonly negativeLogLikelihood: number; readonly top1: number };
  readonly ensemble: { readonly negativeLogLikelihood: number; readonly top1: number };
}

export interface CalibrateOptions {
  /** `auto` fits both rules and takes the one with the lower negative log-likelihood. */
  readonly rule?: FusionRule | 'auto';
  /** Whether to fit temperatures and weight; else all are 1. */
  readonly fit?: boolean;
  /** Whether to leave out specialists that do not help. */
  readonly select?: boolean;
  /** Sweeps over the parameters, one after the other. */
  readonly sweeps?: number;
}

/**
 * Fits the ensemble's few parameters on validation: a temperature for the generalist and for each specialist,
 * one weight for all specialists, and which specialists take part.
 *
 *     minimise - mean over examples of log q(label)
 *
 * One parameter after the other, by golden-section search, twice over. Then every specialist, the least
 * helpful first, is left out if the fused distribution does without it at least as well on the examples
 * where it is active: kept are those with a gain in log-likelihood and no loss in top-1. A specialist that
 * is active on no example has shown nothing and is left out. The weight is then fitted once more.
 *
 * @param examples of the validation split
 * @param specialists their ids and subsets, in the order in which examples name them
 * @param classCount the number of classes
 * @returns plain data, for `ensemble.json`
 * @throws KdSpecError `option-invalid` without any example, `predictions-invalid` on a label out of range
 *
 * Cost: about 70 fusions an example, over its own few classes, for each rule. Deterministic.
 */
export function calibrate(
  examples: readonly CalibrationExample[],
  specialists: readonly { readonly id: number; readonly classes: ArrayLike<number> }[],
  classCount: number,
  { rule = 'paper', fit = true, select = true, sweeps = 2 }: CalibrateOptions = {},
): Calibration {
  if (examples.length === 0) {
    throw new KdSpecError(
      'option-invalid',
      'calibration needs validation examples, but there are none: give the data set a validation split',
    );
  }
  const compact = examples.map((example) => compactExample(example, specialists, classCount));
  const ids = specialists.map(({ id }) => id);
  const candidates = (rule === 'auto' ? (['paper', 'share-inside'] as const) : [rule]).map((candidate) =>
    calibrateRule(compact, ids, candidate, { fit, select, sweeps }),
  );
  return candidates.reduce((best, other) =>
    other.ensemble.negativeLogLikelihood < best.ensemble.negativeLogLikelihood ? other : best,
  );
}

function calibrateRule(
  examples: readonly CompactExample[],
  ids: readonly number[],
  rule: FusionRule,
  { fit, select, sweeps }: Required<Omit<CalibrateOptions, 'rule'>>,
): Calibration {
  const fitting = createCalibrationFit(examples, ids.length, rule);
  for (let sweep = 0; fit && sweep < sweeps; sweep++) {
    fitting.fitGeneralistTemperature();
    ids.forEach((_, m) => {
      fitting.fitTemperature(m);
    });
    fitting.fitWeight();
  }
  if (select) {
    const leastHelpfulFirst = ids
      .map((_, m) => ({ m, gain: gains(fitting, m).gain }))
      .sort((a, b) => a.gain - b.gain || a.m - b.m);
    for (const { m } of leastHelpfulFirst) {
      const { gain, top1Gain } = gains(fitting, m);
      if (!(gain > 0 && top1Gain >= 0)) fitting.leaveOut(m);
    }
    if (fit) fitting.fitWeight();
  }

  const { generalistTemperature, temperatures, weight, kept } = fitting.parameters;
  return {
    rule,
    generalistTemperature,
    specialists: ids.map((id, m) => ({
      id,
      temperature: temperatures[m],
      weight,
      kept: kept[m],
      ...gains(fitting, m),
    })),
    examples: examples.length,
    generalist: summary(examples.map((example) => outcome(temperedGeneralist(example, 1), example))),
    ensemble: summary(fitting.outcomes()),
  };
}

/** What specialist m adds to the others that are kept, over the examples on which it is active. */
function gains(fitting: CalibrationFit, m: number) {
  const outcomes = fitting.outcomesWithAndWithout(m);
  const likelihood = meanAndStandardError(outcomes.map(([a, b]) => a.logLikelihood - b.logLikelihood));
  const top1 = meanAndStandardError(outcomes.map(([a, b]) => a.correct - b.correct));
  return {
    examples: outcomes.length,
    gain: likelihood.mean,
    standardError: likelihood.standardError,
    top1Gain: top1.mean,
    top1StandardError: top1.standardError,
  };
}

function summary(outcomes: readonly Outcome[]) {
  const sum = (key: keyof Outcome) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  return {
    negativeLogLikelihood: -sum('logLikelihood') / outcomes.length,
    top1: sum('correct') / outcomes.length,
  };
}

function meanAndStandardError(values: readonly number[]) {
  if (values.length === 0) return { mean: 0, standardError: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance =
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(values.length - 1, 1);
  return { mean, standardError: Math.sqrt(variance / values.length) };
}
