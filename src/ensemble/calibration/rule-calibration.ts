import type { Pause } from '../../core/pause.js';
import type { ThreadTask } from '../../core/thread.js';
import { createCalibrationError } from '../../math/calibration-error.js';
import { createMean, type Estimate } from '../../math/mean.js';
import { fusionRule } from '../rules/index.js';
import type { FusionRule, ParameterValues, RuleParameter } from '../rules/rule.js';
import { type CompactExample, type Outcome, outcome, temperedGeneralist } from './calibration-example.js';
import { type CalibrationFit, createCalibrationFit } from './calibration-fit.js';
import {
  type BoundedFit,
  type FittedAndJudged,
  fitUnderBound,
  type Harm,
  harmOf,
  type TradeOffPoint,
  tradeOff,
} from './harm-bound.js';

/**
 * What validation decided about one specialist. Gains are with it against without it, where it is active, on
 * examples that the parameters were not fitted to.
 */
export interface SpecialistCalibration {
  readonly id: number;
  readonly temperature: number;
  readonly weight: number;
  /** Of the rule's parameters that are per specialist; absent where it has none. */
  readonly parameters?: ParameterValues;
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

/** How well distributions fit the labels of the validation examples. */
export interface Fit {
  /** Mean, in nats. */
  readonly negativeLogLikelihood: number;
  readonly top1: number;
  /** Expected calibration error, from 0 to 1. */
  readonly calibrationError: number;
}

/** What specialists do to bystanders under a rule, and what bounded it. */
export interface BystanderCalibration extends BoundedFit {
  /** A share of the bystanders. */
  readonly bound: number;
  /** Each half of the bystanders under what was chosen on the other half, and on its half of validation. */
  readonly crossFitted: Harm;
  /** What other bounds would bring, cross-fitted as well; absent where nothing is fitted, or where that takes long. */
  readonly tradeOff?: readonly TradeOffPoint[];
}

/** A rule with everything that is chosen for it on validation, and how well it does there. */
export interface RuleCalibration {
  /** The name of a rule. */
  readonly rule: string;
  /** The share of labels that are taken to be any class: see `underLabelNoise`. */
  readonly labelNoise: number;
  readonly generalistTemperature: number;
  /** Of the rule's parameters that are per ensemble. */
  readonly parameters: ParameterValues;
  readonly specialists: readonly SpecialistCalibration[];
  /** All specialists, by the same rule, with temperatures and weights of 1. */
  readonly uncalibrated: Fit;
  /** With everything that was chosen, on the examples it was chosen on. */
  readonly ensemble: Fit;
  /** The same, each half of the examples under what was chosen on the other half. */
  readonly crossFitted: Fit;
  /** Of the cross-fitted top-1 over the generalist's, with the paired standard error between examples. */
  readonly top1Gain: Estimate;
  /** Where there are bystanders. */
  readonly bystanders?: BystanderCalibration;
}

const folds = 2;

/** How a rule is fitted; see the options of `calibrate`. */
export interface RuleFitOptions {
  readonly fit: boolean;
  readonly fitGeneralist: boolean;
  readonly fitLabelNoise: boolean;
  readonly weights: 'shared' | 'each';
  readonly select: boolean;
  readonly selectionErrors: number;
  readonly sweeps: number;
  readonly harm: number;
  /** Whether all specialists share their parameters. */
  readonly isShared: boolean;
  readonly pause: Pause;
}

/** A rule to fit, as a thread takes it. */
interface RuleRequest {
  readonly data: CalibrationData;
  readonly ids: readonly number[];
  readonly rule: string;
  readonly options: Omit<RuleFitOptions, 'pause'>;
}

/** {@link calibrateRule} for a thread, which is ended from outside. */
export const ruleTask: ThreadTask<RuleRequest, RuleCalibration> = {
  module: import.meta.url,
  name: 'ruleTask',
  run: ({ data, ids, rule, options }) =>
    calibrateRule(data, ids, fusionRule(rule), { ...options, pause: () => undefined }),
};

/** Compact examples of both kinds. */
export interface CalibrationData {
  readonly validation: readonly CompactExample[];
  /** Empty where there are none; then nothing is bounded. */
  readonly bystanders: readonly CompactExample[];
}

/**
 * Fits one rule, chooses its specialists, and judges it by cross-fitting: see `calibrate`.
 *
 * @param ids of the specialists, in the order in which examples name them
 * @throws KdSpecError `interrupted`
 */
export async function calibrateRule(
  data: CalibrationData,
  ids: readonly number[],
  rule: FusionRule,
  options: RuleFitOptions,
): Promise<RuleCalibration> {
  const isBounded = data.bystanders.length > 0;
  const create = ({ validation, bystanders }: CalibrationData) =>
    createCalibrationFit(validation, bystanders, ids.length, rule, options.pause);
  const movers = (fitting: CalibrationFit) => () => fitMovers(fitting, ids.length, rule, options);
  const whole = await create(data);
  const uncalibrated = fitOf(await whole.outcomes());
  const halves = await halvesOf(data, create);
  for (const { fitted, judged } of halves) {
    await fitAll(fitted, ids.length, rule, options);
    await judged.adopt(fitted.parameters);
  }
  if (options.select) {
    await leaveOutUseless(whole, halves, ids.length, options.selectionErrors);
    for (const { fitted, judged } of halves) {
      await fitWeights(fitted, ids.length, rule, options);
      await judged.adopt(fitted.parameters);
    }
  }
  await whole.adopt(halves[0].fitted.parameters); // a start near the end
  await fitAll(whole, ids.length, rule, options);
  let bounded: BoundedFit | undefined;
  let traded: readonly TradeOffPoint[] | undefined;
  if (isBounded) {
    const starts = halves.map(({ fitted }) => structuredClone(fitted.parameters));
    const canTrade = options.fit && rule.massOf !== undefined && whole.parameters.kept.includes(true);
    if (canTrade) traded = await tradeOff(halves, movers);
    bounded = await fitUnderBound(whole, options.fit ? movers(whole) : undefined, options.harm);
    for (const [half, { fitted, judged }] of halves.entries()) {
      await fitted.adopt(starts[half]);
      await fitUnderBound(fitted, options.fit ? movers(fitted) : undefined, options.harm);
      await judged.adopt(fitted.parameters);
    }
  }

  const judges = halves.map(({ judged }) => judged);
  const { labelNoise, generalistTemperature, temperatures, weights, kept, ofEnsemble, ofSpecialists } =
    whole.parameters;
  const crossFitted: Outcome[] = [];
  const top1Gain = createMean();
  for (const { judged, before } of halves) {
    for (const [place, after] of (await judged.outcomes()).entries()) {
      crossFitted.push(after);
      top1Gain.add(after.correct - before[place]);
    }
  }
  const specialists: SpecialistCalibration[] = [];
  for (const [m, id] of ids.entries()) {
    specialists.push({
      id,
      temperature: temperatures[m],
      weight: weights[m],
      ...(Object.keys(ofSpecialists[m]).length > 0 && { parameters: ofSpecialists[m] }),
      kept: kept[m],
      ...(await gains(judges, m)),
    });
  }
  const harmCrossFitted = harmOf(
    (await Promise.all(judges.map((judged) => judged.bystanderOutcomes()))).flat(),
  );
  return {
    rule: rule.name,
    labelNoise,
    generalistTemperature,
    parameters: ofEnsemble,
    specialists,
    uncalibrated,
    ensemble: fitOf(await whole.outcomes()),
    crossFitted: fitOf(crossFitted),
    top1Gain: top1Gain.estimate(),
    ...(bounded && {
      bystanders: {
        ...bounded,
        bound: options.harm,
        crossFitted: harmCrossFitted,
        ...(traded && { tradeOff: traded }),
      },
    }),
  };
}

/** Each half is judged under what was fitted to the other one. One example alone is judged under its own fit. */
async function halvesOf(
  { validation, bystanders }: CalibrationData,
  create: (data: CalibrationData) => Promise<CalibrationFit>,
): Promise<readonly FittedAndJudged[]> {
  const count = Math.min(validation.length, bystanders.length || folds);
  const part = (fold: number, isHeldOut: boolean): CalibrationData => {
    const of = (all: readonly CompactExample[]) =>
      count < folds ? all : all.filter((_, index) => (index % folds === fold) === isHeldOut);
    return { validation: of(validation), bystanders: of(bystanders) };
  };
  const halves: FittedAndJudged[] = [];
  for (let fold = 0; fold < (count < folds ? 1 : folds); fold++) {
    const held = part(fold, true);
    const fitted = await create(part(fold, false));
    halves.push({
      fitted,
      judged: await create(held),
      before: held.validation.map((example) => outcome(temperedGeneralist(example, 1), example).correct),
    });
  }
  return halves;
}

/** Leaves out every specialist, the least helpful first, that shows no gain where it is active. */
async function leaveOutUseless(
  whole: CalibrationFit,
  halves: readonly FittedAndJudged[],
  specialists: number,
  selectionErrors: number,
): Promise<void> {
  const judges = halves.map(({ judged }) => judged);
  const helpfulness: { readonly m: number; readonly gain: number }[] = [];
  for (let m = 0; m < specialists; m++) helpfulness.push({ m, gain: (await gains(judges, m)).gain });
  const leastHelpfulFirst = helpfulness.sort((a, b) => a.gain - b.gain || a.m - b.m);
  for (const { m } of leastHelpfulFirst) {
    const { examples, gain, standardError, top1Gain } = await gains(judges, m);
    const isShown = examples >= leastExamples && gain > selectionErrors * standardError;
    if (isShown && top1Gain >= 0) continue;
    for (const fitting of [whole, ...halves.flatMap(({ fitted, judged }) => [fitted, judged])])
      fitting.leaveOut(m);
  }
}

const leastExamples = 2; // of a specialist that is kept: one alone tells no error

async function fitAll(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: RuleFitOptions,
): Promise<void> {
  if (!options.fit) return;
  for (let sweep = 0; sweep < options.sweeps; sweep++) {
    if (options.fitGeneralist) await fitting.fitGeneralistTemperature();
    if (options.fitLabelNoise) await fitting.fitLabelNoise();
    for (const team of teams(specialists, options)) await fitting.fitTemperature(team);
    await fitWeights(fitting, specialists, rule, options);
  }
}

async function fitWeights(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: RuleFitOptions,
): Promise<void> {
  if (!options.fit) return;
  await fitOwnWeights(fitting, specialists, options);
  const own = rule.parameters.filter(({ fittedOn }) => fittedOn === 'validation');
  await fitParameters(fitting, specialists, own, options);
  if (options.fitLabelNoise) await fitting.fitLabelNoise();
}

/** What a rule moves probability by into subsets and out of them: its own parameters, or else its weights. */
async function fitMovers(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: RuleFitOptions,
): Promise<void> {
  if (rule.parameters.length === 0) await fitOwnWeights(fitting, specialists, options);
  await fitParameters(fitting, specialists, rule.parameters, options);
}

async function fitOwnWeights(
  fitting: CalibrationFit,
  specialists: number,
  { weights, isShared }: RuleFitOptions,
): Promise<void> {
  await fitting.fitWeight();
  for (let m = 0; weights === 'each' && !isShared && m < specialists; m++) await fitting.fitWeight(m);
}

async function fitParameters(
  fitting: CalibrationFit,
  specialists: number,
  parameters: readonly RuleParameter[],
  options: RuleFitOptions,
): Promise<void> {
  for (const parameter of parameters) {
    if (parameter.per === 'ensemble') await fitting.fitParameter(parameter);
    else for (const team of teams(specialists, options)) await fitting.fitParameter(parameter, team);
  }
}

/** The specialists whose parameters have one value: each by itself, or all. */
function teams(specialists: number, { isShared }: RuleFitOptions): readonly (readonly number[])[] {
  const all = Array.from({ length: specialists }, (_, m) => m);
  return isShared ? [all] : all.map((m) => [m]);
}

/** What specialist m adds to the others that are kept, over the examples on which it is active. */
async function gains(judges: readonly CalibrationFit[], m: number) {
  const outcomes: (readonly [Outcome, Outcome])[] = [];
  for (const judged of judges) outcomes.push(...(await judged.outcomesWithAndWithout(m)));
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

/** How well outcomes fit their labels. */
export function fitOf(outcomes: readonly Outcome[]): Fit {
  const error = createCalibrationError();
  let logLikelihood = 0;
  let correct = 0;
  for (const one of outcomes) {
    error.add(one.confidence, one.correct === 1);
    logLikelihood += one.logLikelihood;
    correct += one.correct;
  }
  return {
    negativeLogLikelihood: -logLikelihood / outcomes.length,
    top1: correct / outcomes.length,
    calibrationError: error.result(),
  };
}

function meanAndStandardError(values: readonly number[]) {
  if (values.length === 0) return { mean: 0, standardError: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance =
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(values.length - 1, 1);
  return { mean, standardError: Math.sqrt(variance / values.length) };
}
