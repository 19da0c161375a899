import { combineInside } from './combine-inside.js';
import { createFuser } from './fusion.js';
import {
  checkClass,
  checkedSum,
  checkLengths,
  checkWeight,
  type Logarithms,
  type Probabilities,
  type SpecialistAnswer,
} from './fusion-input.js';

/**
 * How generalist and specialists become one distribution.
 *
 * - `paper`: the minimiser of the paper's objective, see `fuse`.
 * - `share-inside`: see {@link shareInside}.
 * - `combine`: see `combineInside`.
 */
export const fusionRules = ['paper', 'share-inside', 'combine'] as const;
export type FusionRule = (typeof fusionRules)[number];

/** Options of every rule. */
export interface FusionRuleOptions {
  readonly generalistWeight?: number;
  /** How far a specialist's dustbin is believed, in [0, 1]; of `combine` alone. */
  readonly dustbinTrust?: number;
  /** (classes), of the generalist; spares a rule that wants logarithms to take them. */
  readonly logarithms?: Logarithms;
  /** (classes), where the answer is written instead of into a new array. */
  readonly out?: Float64Array;
}

/** Combines one example; all rules look like this to their callers. */
export type Combine = (
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  options?: FusionRuleOptions,
) => Float64Array;

/** Returns the rule's function for examples over at most `mostClasses` classes. */
export function createRule(rule: FusionRule, mostClasses: number): Combine {
  if (rule === 'share-inside') return shareInside;
  if (rule === 'combine') return combineInside;
  const fuser = createFuser(mostClasses);
  return (generalist, specialists, options) => fuser(generalist, specialists, options).probabilities;
}

/**
 * Lets each specialist share out, inside its subset, the mass that the generalist puts there.
 *
 *     q_i = Q_S (w_g p^g_i/Q_S + w p^m_i/(1 - p^m_dustbin)) / (w_g + w)   for i in S,   q_i = p^g_i elsewhere
 *
 * with `Q_S` the generalist's mass on S. Dustbins are ignored: whether the class lies in S is left to the
 * generalist, which has seen all classes, and the specialist says only which of S it is. Specialists that
 * overlap take turns, in order, each on what the one before it left; a specialist that puts everything in
 * its dustbin changes nothing.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 *
 * Cost: one copy of the classes, and the sum of the subsets' sizes.
 */
export function shareInside(
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  { generalistWeight = 1, out: q = new Float64Array(generalist.length) }: FusionRuleOptions = {},
): Float64Array {
  checkWeight(generalistWeight, 'the generalist');
  const scale = 1 / checkedSum(generalist, 'the generalist');
  for (let c = 0; c < q.length; c++) q[c] = scale * generalist[c];
  for (let m = 0; m < specialists.length; m++) {
    const owner = `specialist ${m}`;
    checkLengths(specialists[m], owner);
    checkedSum(specialists[m].probabilities, owner);
    const { classes, probabilities } = specialists[m];
    const weight = checkWeight(specialists[m].weight ?? 1, owner);
    let subsetMass = 0; // Q_S
    let named = 0; // 1 - p^m_dustbin
    for (let i = 0; i < classes.length; i++) {
      subsetMass += q[checkClass(classes[i], q.length, owner)];
      named += probabilities[i];
    }
    if (named === 0) continue;
    const kept = generalistWeight / (generalistWeight + weight);
    const shared = (weight / (generalistWeight + weight)) * subsetMass;
    for (let i = 0; i < classes.length; i++) {
      const c = classes[i];
      q[c] = kept * q[c] + shared * (probabilities[i] / named);
    }
  }
  return q;
}
