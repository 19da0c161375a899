import { createMean, type Estimate } from '../../math/mean.js';
import type { CalibrationFit, CalibrationParameters } from './calibration-fit.js';

/** What an ensemble does to bystanders, as shares of them. */
export interface Harm {
  readonly examples: number;
  /** Accuracy of the generalist, or of the model as it was, less that of the ensemble: below 0 where specialists help. */
  readonly harm: number;
  /** Of the paired difference; that of one changed prediction at least, as nobody knows from few images that none changes. */
  readonly standardError: number;
}

/**
 * The harm over bystanders.
 *
 *     harm = mean of (before - after),   standard error: the paired one, but 1 / n at least
 *
 * @param outcomes whether generalist, or the model as it was (`before`), and ensemble (`after`) are right about each
 */
export function harmOf(outcomes: readonly { readonly before: 0 | 1; readonly after: 0 | 1 }[]): Harm {
  const difference = createMean();
  for (const { before, after } of outcomes) difference.add(before - after);
  const { mean, standardError } = difference.estimate();
  return {
    examples: outcomes.length,
    harm: mean,
    standardError: Math.max(standardError, 1 / Math.max(1, outcomes.length)),
  };
}

/** Whether a harm is within a bound: with one standard error to spare. */
export function isWithinBound({ harm, standardError }: Harm, bound: number): boolean {
  return harm + standardError <= bound;
}

/** What {@link fitUnderBound} found. */
export interface BoundedFit {
  /** Of the generalist alone where nothing is within the bound: 0, or what a refitted layer does by itself. */
  readonly harm: Harm;
  /** Least harm of what was tried, where all of it was beyond the bound and specialists are left out. */
  readonly refused?: number;
}

/** What validation gains and bystanders lose at some odds of the two. */
export interface TradeOffPoint {
  /** Of top-1 on validation, over the generalist. */
  readonly gain: Estimate;
  readonly harm: Harm;
}

/** Examples that something was fitted to, and others that judge it. */
export interface FittedAndJudged {
  readonly fitted: CalibrationFit;
  readonly judged: CalibrationFit;
  /** Whether the generalist is right on each validation example of `judged`. */
  readonly before: readonly (0 | 1)[];
}

/**
 * What the fit would gain and cost under other bounds: both, on examples that it was not fitted to, at each of the odds
 * that {@link fitUnderBound} tries first.
 *
 * @param parts which together have all examples once in `judged`; both fits of each are left with the last odds
 * @param moversOf fits what moves probability
 * @returns by rising odds and gain; harm rises with them, but for chance. What gains nothing, or no more than at lower odds,
 *   is left out
 *
 * Cost: 7 fits of what moves mass: under a rule with `massOf` two fusions for an example with one active specialist, and a
 * fusion for every trial for one with several.
 */
export async function tradeOff(
  parts: readonly FittedAndJudged[],
  moversOf: (fitting: CalibrationFit) => () => Promise<void>,
): Promise<readonly TradeOffPoint[]> {
  const points: TradeOffPoint[] = [];
  let most = 0;
  for (let odds = leastOdds; odds <= mostOdds; odds += stride) {
    const gain = createMean();
    const bystanders: { readonly before: 0 | 1; readonly after: 0 | 1 }[] = [];
    for (const { fitted, judged, before } of parts) {
      fitted.weighBystanders(Math.exp(-odds));
      await moversOf(fitted)();
      await judged.adopt(fitted.parameters);
      for (const [place, { correct }] of (await judged.outcomes()).entries())
        gain.add(correct - before[place]);
      bystanders.push(...(await judged.bystanderOutcomes()));
    }
    const estimate = gain.estimate();
    if (estimate.mean <= most) continue;
    most = estimate.mean;
    points.push({ gain: estimate, harm: harmOf(bystanders) });
  }
  return points;
}

const leastOdds = -6; // of a validation image against a bystander, in nats
const mostOdds = 6;
const stride = 2;
const refinements = 4; // halvings between what is within the bound and what is beyond it

/**
 * Fits what moves probability into subsets and out of them, so that validation gains most within a bound on harm.
 *
 * Validation has images of subsets alone, bystanders of what lies outside. Let a share of all images in use be like
 * validation: the likelihood of such a mixture, validation and bystanders weighted by their shares, is the objective of
 * the fit, and the odds of the two are the one number by which gain is traded for harm. They rise from 1 to 400 against
 * validation to 400 to 1 for it until the harm with one standard error to spare exceeds the bound, and are refined
 * there; of all fits within the bound the one with the best top-1 on validation is taken. Where none is, every
 * specialist is left out.
 *
 * @param fitting with bystanders; ends with what was found
 * @param fitMovers fits them at the present weight of the bystanders; none: parameters stay as they are
 * @param bound on the harm, a share
 *
 * Cost: about 12 fits.
 */
export async function fitUnderBound(
  fitting: CalibrationFit,
  fitMovers: (() => Promise<void>) | undefined,
  bound: number,
): Promise<BoundedFit> {
  let best: { correct: number; harm: Harm; parameters: CalibrationParameters } | undefined;
  let leastHarm = Number.POSITIVE_INFINITY;
  const measure = async () => {
    const harm = harmOf(await fitting.bystanderOutcomes());
    leastHarm = Math.min(leastHarm, harm.harm);
    if (!isWithinBound(harm, bound)) return false;
    const outcomes = await fitting.outcomes();
    const correct = outcomes.reduce((sum, one) => sum + one.correct, 0);
    if (best === undefined || correct > best.correct)
      best = { correct, harm, parameters: structuredClone(fitting.parameters) };
    return true;
  };
  const isWithin = async (odds: number) => {
    fitting.weighBystanders(Math.exp(-odds));
    await fitMovers?.();
    return measure();
  };
  await measure();
  if (fitMovers) {
    let within = leastOdds;
    let beyond: number | undefined;
    for (let odds = leastOdds; odds <= mostOdds && beyond === undefined; odds += stride) {
      if (await isWithin(odds)) within = odds;
      else beyond = odds;
    }
    for (let step = 0; step < refinements && beyond !== undefined; step++) {
      const middle: number = (within + beyond) / 2;
      if (await isWithin(middle)) within = middle;
      else beyond = middle;
    }
  }
  if (best !== undefined) {
    await fitting.adopt(best.parameters);
    return { harm: best.harm };
  }
  fitting.parameters.kept.forEach((_, specialist) => {
    fitting.leaveOut(specialist);
  });
  return { harm: harmOf(await fitting.bystanderOutcomes()), refused: leastHarm };
}
