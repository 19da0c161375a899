import { availableParallelism } from 'node:os';
import { KdSpecError } from '../../core/errors.js';
import { createPause, type Pause } from '../../core/pause.js';
import { hasThreads, runInThreads } from '../../core/thread.js';
import { createMean } from '../../math/mean.js';
import { fusionRule, fusionRules } from '../rules/index.js';
import { paper } from '../rules/paper.js';
import type { FusionRule } from '../rules/rule.js';
import {
  type CalibrationExample,
  type CompactExample,
  compactExample,
  outcome,
  temperedGeneralist,
} from './calibration-example.js';
import { createCalibrationFit } from './calibration-fit.js';
import { type CalibrationPlan, planCalibration } from './calibration-plan.js';
import { harmOf } from './harm-bound.js';
import { outcomesOf, type Proof, prove, splitForProof } from './proof.js';
import {
  type CalibrationData,
  calibrateRule,
  type Fit,
  fitOf,
  type RuleCalibration,
  type RuleFitOptions,
  ruleTask,
} from './rule-calibration.js';

export type { CalibrationExample } from './calibration-example.js';
export type { RuleCalibration } from './rule-calibration.js';

/** The rule in use, and those that were fitted beside it. */
export interface Calibration extends RuleCalibration {
  readonly examples: number;
  /** Whether all specialists share their parameters, since fitting each would have taken too long. */
  readonly isShared: boolean;
  /** At temperature 1. */
  readonly generalist: Fit;
  /** With a temperature, and a share of label noise, of its own, where these are fitted: what needs no specialist. */
  readonly calibratedGeneralist?: Fit;
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
  /** Whether the generalist's temperature is fitted, too; not where what is fused with is an earlier ensemble's. */
  readonly fitGeneralist?: boolean;
  /** Whether to fit the share of labels that are noise; not where images cover a part of the classes alone. */
  readonly fitLabelNoise?: boolean;
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

const comparedRule = paper; // fitted beside whichever rule is in use

/**
 * Fits the ensemble's few parameters on validation: a temperature for the generalist and for each specialist,
 * one weight for all specialists or one for each, the share of labels that are noise (see `underLabelNoise`), and which
 * specialists take part.
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
 * Rules are fitted side by side in threads of their own where that takes more than seconds; the result is the same.
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
    fitGeneralist = true,
    fitLabelNoise = true,
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
  const { isShared, estimatedSeconds } = plan;
  const candidates = await calibrateRules(
    { validation: compact, bystanders: others },
    ids,
    fitted,
    { fit, fitGeneralist, fitLabelNoise, weights, select, selectionErrors, sweeps, harm, pause, isShared },
    { estimatedSeconds, signal },
  );
  const used = candidates
    .filter((candidate) => wanted.some(({ name }) => name === candidate.rule))
    .reduce((best, other) => (betterFirst(other, best) < 0 ? other : best));
  const proof = risk === undefined ? undefined : await prove(await compacted(held), used, risk, pause);
  const inUse = proof?.isShown === false ? await withoutSpecialists(used, compact, others, pause) : used;
  return {
    ...inUse,
    examples: compact.length,
    isShared,
    ...(proof && { proof }),
    generalist: fitOf(compact.map((example) => outcome(temperedGeneralist(example, 1), example))),
    ...(fit &&
      (fitGeneralist || fitLabelNoise) && {
        calibratedGeneralist: await fitAlone(compact, { fitGeneralist, fitLabelNoise, sweeps, pause }),
      }),
    others: candidates.filter((candidate) => candidate !== used),
  };
}

/**
 * Which of two rules to use. Within a bound on the harm to top-1 the gain is that of top-1; likelihood decides between
 * equals, and where there are no bystanders. Halves of the bystanders may have been within the bound under a rule that all
 * of them refuse: it leaves every specialist out.
 */
export function betterFirst(a: RuleCalibration, b: RuleCalibration): number {
  const isRefused = ({ bystanders }: RuleCalibration) => Number(bystanders?.refused !== undefined);
  return (
    isRefused(a) - isRefused(b) ||
    (a.bystanders ? b.crossFitted.top1 - a.crossFitted.top1 : 0) ||
    a.crossFitted.negativeLogLikelihood - b.crossFitted.negativeLogLikelihood
  );
}

const leastSeconds = 2; // of a calibration that is worth threads
const mostCopied = 2 ** 28; // bytes of the examples, of which every thread has a copy

/** Fits rules, several at once in threads where that is worth their copies of the examples. */
async function calibrateRules(
  data: CalibrationData,
  ids: readonly number[],
  rules: readonly FusionRule[],
  { pause, ...options }: RuleFitOptions,
  {
    estimatedSeconds,
    signal,
  }: { readonly estimatedSeconds: number; readonly signal: AbortSignal | undefined },
): Promise<readonly RuleCalibration[]> {
  const threads = hasThreads() ? Math.min(rules.length, availableParallelism()) : 1;
  const calibrations: RuleCalibration[] = [];
  if (threads < 2 || estimatedSeconds < leastSeconds || bytesOf(data) > mostCopied) {
    for (const rule of rules) calibrations.push(await calibrateRule(data, ids, rule, { ...options, pause }));
    return calibrations;
  }
  // Those that take longest first: rules that move mass under a bound have a trade-off to trace.
  const longestFirst = rules.toSorted((a, b) => b.parameters.length - a.parameters.length);
  const requests = longestFirst.map(({ name }) => ({ data, ids, rule: name, options }));
  const found = await runInThreads(ruleTask, requests, { threads, signal, doing: 'calibration' });
  return rules.map((rule) => found[longestFirst.indexOf(rule)]);
}

function bytesOf({ validation, bystanders }: CalibrationData): number {
  let bytes = 0;
  for (const { classes, logGeneralist, predictions } of [...validation, ...bystanders]) {
    bytes += classes.byteLength + logGeneralist.byteLength;
    for (const one of predictions) bytes += one.classes.byteLength + one.logProbabilities.byteLength;
  }
  return bytes;
}

/** How well the generalist fits labels with nothing but a calibration of its own. */
async function fitAlone(
  examples: readonly CompactExample[],
  {
    fitGeneralist,
    fitLabelNoise,
    sweeps,
    pause,
  }: Pick<RuleFitOptions, 'fitGeneralist' | 'fitLabelNoise' | 'sweeps' | 'pause'>,
): Promise<Fit> {
  const alone = examples.map((example) => ({ ...example, predictions: [] }));
  const fitting = await createCalibrationFit(alone, [], 0, comparedRule, pause);
  for (let sweep = 0; sweep < 2 * sweeps; sweep++) {
    // as many as the ensemble's: those of a half, and those of the whole
    if (fitGeneralist) await fitting.fitGeneralistTemperature();
    if (fitLabelNoise) await fitting.fitLabelNoise();
  }
  return fitOf(await fitting.outcomes());
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
  const outcomes = await outcomesOf(examples, alone, pause);
  const fit = fitOf(outcomes);
  const gain = createMean(); // of a generalist whose last layer was refitted
  for (const [at, { correct }] of outcomes.entries()) gain.add(correct - (examples[at].before ?? correct));
  const harm = harmOf(
    (await outcomesOf(bystanders, alone, pause)).map(({ correct: after }, at) => ({
      before: bystanders[at].before ?? after,
      after,
    })),
  );
  return {
    ...alone,
    ensemble: fit,
    crossFitted: fit,
    top1Gain: gain.estimate(),
    ...(chosen.bystanders && { bystanders: { ...chosen.bystanders, harm, crossFitted: harm } }),
  };
}
