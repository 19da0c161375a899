import type { Pause } from '../../core/pause.js';
import type { FusionRule } from '../rules/rule.js';
import { countGroups } from '../rules/union.js';
import type { CalibrationExample } from './calibration-example.js';

/** How a calibration goes about its examples, so that it ends in good time. */
export interface CalibrationPlan {
  /** Validation examples that are used, the first ones. */
  readonly validation: number;
  /** Bystanders that are used, the first ones. */
  readonly bystanders: number;
  /** Whether all specialists share a temperature, a weight and the rule's parameters, instead of one for each. */
  readonly isShared: boolean;
  /** The most specialists that are active on an example. */
  readonly mostActive: number;
  /** What all of it takes on a core, within a factor of three. */
  readonly estimatedSeconds: number;
}

/** What the number of fusions depends on. */
export interface PlannedFit {
  readonly rules: readonly FusionRule[];
  readonly fit: boolean;
  readonly weights: 'shared' | 'each';
  readonly select: boolean;
  readonly sweeps: number;
}

const mostMicroseconds = 6e8; // with parameters for each specialist: 10 minutes, twice that with bystanders
const mostSharedMicroseconds = 2e8; // with shared ones: 3 minutes, twice that with bystanders
const evaluations = 10; // of a search: seven in a smooth valley, about twice as many at an end of its range
const fits = 2; // each example is in the fit to all and in that to a half
const boundedFits = 12; // of what moves probability, under a bound on harm

/**
 * Plans a calibration: with parameters for each specialist where that ends in 10 minutes, else with shared ones and on as
 * many examples as 3 minutes allow; twice that where there are bystanders.
 *
 * A specialist is fitted beside all others that are active on an example, so that M of these take M times the fusions, and
 * a fusion of them takes M or, under the paper's rule, M^3 times as long. Times are estimated from sizes alone: the plan
 * is the same on every machine.
 *
 * @param specialists their subsets, in the order in which examples name them
 * @param options.scale of both limits, 1 by default
 * Cost: one pass over the subsets of the examples on which more than one specialist is active.
 */
export async function planCalibration(
  validation: readonly CalibrationExample[],
  bystanders: readonly CalibrationExample[],
  specialists: readonly { readonly classes: ArrayLike<number> }[],
  planned: PlannedFit,
  { classCount, scale = 1, pause }: { classCount: number; scale?: number; pause: Pause },
): Promise<CalibrationPlan> {
  const unionRow = new Int32Array(classCount).fill(-1);
  const subsets = specialists.map(({ classes }) => ({ classes: Int32Array.from(classes) }));
  let each = 0;
  let shared = 0;
  let mostActive = 0;
  for (const all of [validation, bystanders]) {
    for (const example of all) {
      const turn = pause();
      if (turn) await turn;
      const active = example.specialists.length;
      mostActive = Math.max(mostActive, active);
      const own = example.specialists.map(({ specialist }) => subsets[specialist]);
      const sizes = {
        active,
        inSubsets: own.reduce((sum, { classes }) => sum + classes.length, 0),
        groups: active > 1 ? countGroups(own, classCount, unionRow) : active + 1,
      };
      for (const rule of planned.rules) {
        const cost = rule.cost(sizes);
        each +=
          cost * fusionsOf(active, rule, planned, { isShared: false, isBounded: bystanders.length > 0 });
        shared +=
          cost * fusionsOf(active, rule, planned, { isShared: true, isBounded: bystanders.length > 0 });
      }
    }
  }
  const limits = scale * (bystanders.length > 0 ? 2 : 1);
  const isShared = each > limits * mostMicroseconds;
  const share = isShared ? Math.min(1, (limits * mostSharedMicroseconds) / shared) : 1;
  const used = (all: readonly unknown[]) => Math.min(all.length, Math.max(1, Math.floor(share * all.length)));
  return {
    validation: used(validation),
    bystanders: used(bystanders),
    isShared,
    mostActive,
    estimatedSeconds: (isShared ? share * shared : each) / 1e6,
  };
}

/** How often an example is fused in all, about, with M active specialists. */
function fusionsOf(
  active: number,
  { parameters }: FusionRule,
  { fit, weights, select, sweeps }: PlannedFit,
  { isShared, isBounded }: { readonly isShared: boolean; readonly isBounded: boolean },
): number {
  const searched = isShared ? Math.min(1, active) : active; // searches that look at an example, of a parameter that each has
  const ownWeights = weights === 'each' ? searched : 0;
  const ofRule = (isFitted: (fittedOn: string) => boolean) =>
    parameters
      .filter(({ fittedOn }) => isFitted(fittedOn))
      .reduce((sum, { per }) => sum + (per === 'specialist' ? searched : 1), 0);
  const weightSearches = 1 + ownWeights + ofRule((fittedOn) => fittedOn === 'validation');
  const sweep = 1 + searched + weightSearches;
  const movers = parameters.length === 0 ? 1 + ownWeights : ofRule(() => true);
  const searches = fit
    ? fits * sweeps * sweep + (select ? weightSearches : 0) + (isBounded ? fits * boundedFits * movers : 0)
    : 0;
  const judgements = 4 + (1 + (select ? 2 : 0)) * (active + 1) + (isBounded ? 2 * fits * boundedFits : 0);
  return evaluations * searches + judgements;
}
