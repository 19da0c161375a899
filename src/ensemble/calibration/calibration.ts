import { KdSpecError } from '../../core/errors.js';
import { createPause, type Pause } from '../../core/pause.js';
import { createCalibrationError } from '../../math/calibration-error.js';
import { createMean, type Estimate } from '../../math/mean.js';
import { fusionRule, fusionRules } from '../rules/index.js';
import { paper } from '../rules/paper.js';
import type { FusionRule, ParameterValues, RuleParameter } from '../rules/rule.js';
import {
  type CalibrationExample,
  type CompactExample,
  compactExample,
  type Outcome,
  outcome,
  temperedGeneralist,
} from './calibration-example.js';
import { type CalibrationFit, createCalibrationFit } from './calibration-fit.js';
import { type CalibrationPlan, planCalibration } from './calibration-plan.js';
import { type BoundedFit, fitUnderBound, type Harm, harmOf } from './harm-bound.js';
import { outcomesOf, type Proof, prove, splitForProof } from './proof.js';

export type { CalibrationExample } from './calibration-example.js';

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
}

/** A rule with everything that is chosen for it on validation, and how well it does there. */
export interface RuleCalibration {
  /** The name of a rule. */
  readonly rule: string;
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

/** The rule in use, and those that were fitted beside it. */
export interface Calibration extends RuleCalibration {
  readonly examples: number;
  /** Whether all specialists share their parameters, since fitting each would have taken too long. */
  readonly isShared: boolean;
  /** At temperature 1. */
  readonly generalist: Fit;
  /** With `risk`: whether held-out examples show a gain. Where they do not, no specialist is kept. */
  readonly proof?: Proof;
  /** The paper's rule is here or in use; under `auto`, all others are here. */
  readonly others: readonly RuleCalibration[];
}

export interface CalibrateOptions {
  /**
   * The name of a rule; `auto` fits every one and takes that of the lowest cross-fitted negative log-likelihood, or,
   * with bystanders, that of the best cross-fitted top-1 within the bound.
   */
  readonly rule?: string;
  /**
   * Images of what no specialist learns, labelled with their class, or with the generalist's first class where the
   * label is not known: harm is then any change.
   */
  readonly bystanders?: readonly CalibrationExample[];
  /** The most harm to bystanders, as a share of them; default none. */
  readonly harm?: number;
  /**
   * The most that the chance may be of using an ensemble that is worse than the generalist, in (0, 1): a third of the
   * validation examples is held out, and specialists are kept only if these show a gain; see `prove`. Default none.
   */
  readonly risk?: number;
  /** Whether to fit temperatures and weights; else all are 1. */
  readonly fit?: boolean;
  /** One weight for all specialists, or one for each. */
  readonly weights?: 'shared' | 'each';
  /** Whether to leave out specialists that do not help. */
  readonly select?: boolean;
  /** Standard errors by which a gain must exceed zero. */
  readonly selectionErrors?: number;
  /** Sweeps over the parameters, one after the other. */
  readonly sweeps?: number;
  /** Scales the limits of time, for tests; see `planCalibration`. */
  readonly timeScale?: number;
  /** Called before the fit with what is going to be done. */
  readonly onPlan?: (plan: CalibrationPlan) => void;
  /** Stops it, within half a second. */
  readonly signal?: AbortSignal;
}

const folds = 2;
const comparedRule = paper; // fitted beside whichever rule is in use

/**
 * Fits the ensemble's few parameters on validation: a temperature for the generalist and for each specialist,
 * one weight for all specialists or one for each, and which specialists take part.
 *
 *     minimise - mean over examples of log q(label)
 *
 * One parameter after the other, by Brent's method, twice over. To judge what was fitted by examples that
 * it was not fitted to, the examples are halved and each half is judged under the fit of the other. By that
 * judgement every specialist, the least helpful first, is left out if its gain in log-likelihood does not exceed
 * zero by `selectionErrors` standard errors, or if it loses top-1, on the examples where it is active. A specialist
 * that is active on no example has shown nothing and is left out. What remains is then fitted to all examples.
 *
 * @param examples of the validation split, in an order that has nothing to do with their labels
 * @param specialists their ids and subsets, in the order in which examples name them
 * @param classCount the number of classes
 * @returns plain data, for `ensemble.json`
 * @throws KdSpecError `option-invalid` without any example, `predictions-invalid` on a label out of range,
 *   `interrupted` after the signal aborted
 *
 * With bystanders, these count as much as validation in every fit, and what moves probability into subsets and out of
 * them is then fitted under the bound on harm: see `fitUnderBound`. Selection looks at validation alone.
 *
 * The paper's rule is fitted in any case, to compare the one in use with.
 *
 * Cost: about 160 fusions an example, over its own few classes, for each rule; with M active specialists M / 3 times that,
 * as each is fitted beside the others, but no more than `planCalibration` allows: about 10 minutes. Deterministic.
 */
export async function calibrate(
  examples: readonly CalibrationExample[],
  specialists: readonly { readonly id: number; readonly classes: ArrayLike<number> }[],
  classCount: number,
  {
    rule = 'auto',
    fit = true,
    weights = 'shared',
    select = true,
    selectionErrors = 1,
    sweeps = 2,
    timeScale = 1,
    onPlan = () => {},
    bystanders = [],
    harm = Number.POSITIVE_INFINITY,
    risk,
    signal,
  }: CalibrateOptions = {},
): Promise<Calibration> {
  if (examples.length === 0) {
    throw new KdSpecError(
      'option-invalid',
      'calibration needs validation examples, but there are none: give the data set a validation split',
    );
  }
  const pause = createPause(signal, 'calibration');
  const wanted = rule === 'auto' ? fusionRules : [fusionRule(rule)];
  const fitted = fusionRules.filter((one) => wanted.includes(one) || one === comparedRule);
  const plan = await planCalibration(
    examples,
    bystanders,
    specialists,
    { rules: fitted, fit, weights, select, sweeps },
    { classCount, scale: timeScale, pause },
  );
  onPlan(plan);
  const compacted = async (some: readonly CalibrationExample[]) => {
    const compact: CompactExample[] = [];
    for (const example of some) {
      const turn = pause();
      if (turn) await turn;
      compact.push(compactExample(example, specialists, classCount));
    }
    return compact;
  };
  const planned = examples.slice(0, plan.validation);
  const { fitted: own, held } = risk === undefined ? { fitted: planned, held: [] } : splitForProof(planned);
  if (own.length === 0 || (risk !== undefined && held.length === 0)) {
    throw new KdSpecError(
      'option-invalid',
      `a proof (--risk) needs at least 3 validation examples, one of which is held out; there are ${planned.length}`,
    );
  }
  const compact = await compacted(own);
  const others = await compacted(bystanders.slice(0, plan.bystanders));
  const ids = specialists.map(({ id }) => id);
  const candidates: RuleCalibration[] = [];
  const { isShared } = plan;
  for (const candidate of fitted) {
    const options = { fit, weights, select, selectionErrors, sweeps, harm, pause, isShared };
    candidates.push(
      await calibrateRule({ validation: compact, bystanders: others }, ids, candidate, options),
    );
  }
  // Within a bound on the harm to top-1 the gain is that of top-1; likelihood decides between equals.
  const order = (a: RuleCalibration, b: RuleCalibration) =>
    (others.length > 0 ? b.crossFitted.top1 - a.crossFitted.top1 : 0) ||
    a.crossFitted.negativeLogLikelihood - b.crossFitted.negativeLogLikelihood;
  const used = candidates
    .filter((candidate) => wanted.some(({ name }) => name === candidate.rule))
    .reduce((best, other) => (order(other, best) < 0 ? other : best));
  const proof = risk === undefined ? undefined : await prove(await compacted(held), used, risk, pause);
  const inUse = proof?.isShown === false ? await withoutSpecialists(used, compact, others, pause) : used;
  return {
    ...inUse,
    examples: compact.length,
    isShared,
    ...(proof && { proof }),
    generalist: fitOf(compact.map((example) => outcome(temperedGeneralist(example, 1), example))),
    others: candidates.filter((candidate) => candidate !== used),
  };
}

/** The generalist alone, at its temperature: what is used where nothing shows a gain. */
async function withoutSpecialists(
  chosen: RuleCalibration,
  examples: readonly CompactExample[],
  bystanders: readonly CompactExample[],
  pause: Pause,
): Promise<RuleCalibration> {
  const specialists = chosen.specialists.map((specialist) => ({ ...specialist, kept: false }));
  const alone = { ...chosen, specialists };
  const fit = fitOf(await outcomesOf(examples, alone, pause));
  const harm = harmOf(bystanders.map(() => ({ before: 1, after: 1 })));
  return {
    ...alone,
    ensemble: fit,
    crossFitted: fit,
    ...(chosen.bystanders && { bystanders: { ...chosen.bystanders, harm, crossFitted: harm } }),
  };
}

type FitOptions = Required<
  Pick<CalibrateOptions, 'fit' | 'weights' | 'select' | 'selectionErrors' | 'sweeps' | 'harm'>
> & {
  readonly pause: Pause;
  readonly isShared: boolean;
};

/** Compact examples of both kinds. */
interface Examples {
  readonly validation: readonly CompactExample[];
  readonly bystanders: readonly CompactExample[];
}

async function calibrateRule(
  examples: Examples,
  ids: readonly number[],
  rule: FusionRule,
  options: FitOptions,
): Promise<RuleCalibration> {
  const isBounded = examples.bystanders.length > 0;
  const create = ({ validation, bystanders }: Examples) =>
    createCalibrationFit(validation, bystanders, ids.length, rule, options.pause);
  const boundedFit = (fitting: CalibrationFit) =>
    fitUnderBound(
      fitting,
      options.fit ? () => fitMovers(fitting, ids.length, rule, options) : undefined,
      options.harm,
    );
  const whole = await create(examples);
  const uncalibrated = fitOf(await whole.outcomes());

  // Each half is judged under what was fitted to the other one. One example alone is judged under its own fit.
  const count = Math.min(examples.validation.length, isBounded ? examples.bystanders.length : folds);
  const half = (fold: number, isHeldOut: boolean): Examples => {
    const of = (all: readonly CompactExample[]) =>
      count < folds ? all : all.filter((_, index) => (index % folds === fold) === isHeldOut);
    return { validation: of(examples.validation), bystanders: of(examples.bystanders) };
  };
  const halves: { readonly fitted: CalibrationFit; readonly judged: CalibrationFit }[] = [];
  for (let fold = 0; fold < (count < folds ? 1 : folds); fold++) {
    halves.push({ fitted: await create(half(fold, false)), judged: await create(half(fold, true)) });
  }
  for (const { fitted, judged } of halves) {
    await fitAll(fitted, ids.length, rule, options);
    await judged.adopt(fitted.parameters);
  }
  if (options.select) {
    const judges = halves.map(({ judged }) => judged);
    const helpfulness: { readonly m: number; readonly gain: number }[] = [];
    for (let m = 0; m < ids.length; m++) helpfulness.push({ m, gain: (await gains(judges, m)).gain });
    const leastHelpfulFirst = helpfulness.sort((a, b) => a.gain - b.gain || a.m - b.m);
    for (const { m } of leastHelpfulFirst) {
      const { gain, standardError, top1Gain } = await gains(judges, m);
      if (gain > options.selectionErrors * standardError && top1Gain >= 0) continue;
      for (const { fitted, judged } of halves) {
        fitted.leaveOut(m);
        judged.leaveOut(m);
      }
      whole.leaveOut(m);
    }
    for (const { fitted, judged } of halves) {
      await fitWeights(fitted, ids.length, rule, options);
      await judged.adopt(fitted.parameters);
    }
  }
  await whole.adopt(halves[0].fitted.parameters); // a start near the end
  await fitAll(whole, ids.length, rule, options);
  const bounded = isBounded ? await boundedFit(whole) : undefined;
  if (isBounded)
    for (const { fitted, judged } of halves) {
      await boundedFit(fitted);
      await judged.adopt(fitted.parameters);
    }

  const judges = halves.map(({ judged }) => judged);
  const { generalistTemperature, temperatures, weights, kept, ofEnsemble, ofSpecialists } = whole.parameters;
  const crossFitted: Outcome[] = [];
  const top1Gain = createMean();
  for (const [fold, judged] of judges.entries()) {
    const before = half(fold, true).validation;
    for (const [place, after] of (await judged.outcomes()).entries()) {
      crossFitted.push(after);
      top1Gain.add(after.correct - outcome(temperedGeneralist(before[place], 1), before[place]).correct);
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
  return {
    rule: rule.name,
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
        crossFitted: harmOf((await Promise.all(judges.map((judged) => judged.bystanderOutcomes()))).flat()),
      },
    }),
  };
}

async function fitAll(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: FitOptions,
): Promise<void> {
  if (!options.fit) return;
  for (let sweep = 0; sweep < options.sweeps; sweep++) {
    await fitting.fitGeneralistTemperature();
    for (const team of teams(specialists, options)) await fitting.fitTemperature(team);
    await fitWeights(fitting, specialists, rule, options);
  }
}

async function fitWeights(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: FitOptions,
): Promise<void> {
  if (!options.fit) return;
  await fitOwnWeights(fitting, specialists, options);
  const own = rule.parameters.filter(({ fittedOn }) => fittedOn === 'validation');
  await fitParameters(fitting, specialists, own, options);
}

/** What a rule moves probability by into subsets and out of them: its own parameters, or else its weights. */
async function fitMovers(
  fitting: CalibrationFit,
  specialists: number,
  rule: FusionRule,
  options: FitOptions,
): Promise<void> {
  if (rule.parameters.length === 0) await fitOwnWeights(fitting, specialists, options);
  await fitParameters(fitting, specialists, rule.parameters, options);
}

async function fitOwnWeights(
  fitting: CalibrationFit,
  specialists: number,
  { weights, isShared }: FitOptions,
): Promise<void> {
  await fitting.fitWeight();
  for (let m = 0; weights === 'each' && !isShared && m < specialists; m++) await fitting.fitWeight(m);
}

async function fitParameters(
  fitting: CalibrationFit,
  specialists: number,
  parameters: readonly RuleParameter[],
  options: FitOptions,
): Promise<void> {
  for (const parameter of parameters) {
    if (parameter.per === 'ensemble') await fitting.fitParameter(parameter);
    else for (const team of teams(specialists, options)) await fitting.fitParameter(parameter, team);
  }
}

/** The specialists whose parameters have one value: each by itself, or all. */
function teams(specialists: number, { isShared }: FitOptions): readonly (readonly number[])[] {
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

function fitOf(outcomes: readonly Outcome[]): Fit {
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
