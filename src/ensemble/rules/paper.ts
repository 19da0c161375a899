import { KdSpecError } from '../../core/errors.js';
import {
  checkClass,
  checkedSum,
  checkLengths,
  checkSum,
  checkWeight,
  noClassOutside,
  notAProbability,
  type Probabilities,
  repeatedClass,
  type SpecialistPrediction,
  sumOfMasses,
} from './distributions.js';
import { minimiseDivergences } from './paper-graph.js';
import type { FusionRule } from './rule.js';
import {
  type ClassGroups,
  groupClasses,
  type KnownMasses,
  knownMasses,
  massesOutside,
  shareDustbins,
} from './union.js';

export interface FuseOptions {
  /** w_g, the generalist's weight, above 0. */
  readonly generalistWeight?: number;
  /** The greatest residual of the optimality conditions, as a fraction of the total weight. */
  readonly tolerance?: number;
  /** (classes), where q is written instead of into a new array. */
  readonly out?: Float64Array;
}

/** The fused distribution of one example. */
export interface Fused {
  /** (classes), sums to 1. */
  readonly probabilities: Float64Array;
  /** The minimum, in nats. */
  readonly objective: number;
  /** Newton steps; 0 when at most one dustbin has mass, which needs none. */
  readonly iterations: number;
}

/** {@link fuse} without the objective, whose logarithms would cost more than the rest. */
export type Fuser = (
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  options?: FuseOptions,
) => Pick<Fused, 'probabilities' | 'iterations'>;

/**
 * Fuses the generalist with its active specialists: the distribution q that minimises
 *
 *     w_g KL(p^g || q) + sum over active m of w_m KL(p^m || q^m)
 *
 * where `q^m` is q on the subset `S^m` and, on the dustbin, q's summed mass outside it.
 *
 * The minimiser is taken over the classes to which the generalist or an active specialist gives mass; a
 * class that none of them supports stays at zero. On them it is unique, because the objective is strictly
 * convex there. The one infeasible case is a dustbin with mass when no supported class lies outside its
 * subset: the objective is then infinite for every such q.
 *
 * @param generalist (classes), `p^g`; sums to 1, or nearly (float32), and is then scaled
 * @param specialists the active ones, in any order; none gives `q = p^g`
 * @param options the generalist's weight (above 0, default 1), the tolerance (default 1e-12), and where to
 *   write q
 * @returns q of shape (classes), the objective in nats, and the number of Newton steps
 * @throws KdSpecError `fusion-input` when something is not a distribution, a class is out of range or comes
 *   twice, or the case is infeasible
 *
 * Cost: four passes over the classes (fill, copy, sum, scale), and beyond them only the union of the active subsets counts.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, equation 5; solved exactly, not by gradient descent.
 *
 * @example
 * const generalist = Float64Array.of(0.5, 0.3, 0.2);
 * const specialist = { classes: Int32Array.of(0, 1), probabilities: Float64Array.of(0.1, 0.7, 0.2) };
 * fuse(generalist, [specialist]).probabilities; // [0.3, 0.5, 0.2]
 */
export function fuse(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  options: FuseOptions = {},
): Fused {
  const { out = new Float64Array(generalist.length) } = options;
  const unionRow = new Int32Array(generalist.length).fill(-1);
  checkSizes(generalist, out, unionRow);
  const solution = solve(generalist, specialists, options, out, unionRow);
  const objective = fusionObjective(generalist, specialists, solution, out);
  return { probabilities: out, objective, iterations: solution.iterations };
}

/**
 * Returns a {@link fuse} for many examples, which keeps its working memory and computes no objective.
 *
 * @param mostClasses the greatest number of classes of an example
 *
 * Cost: 4 bytes a class are kept. An example costs three passes over its classes (copy, sum, scale), and
 * beyond them only the union of the active subsets counts.
 *
 * @example
 * const fuseNext = createFuser(3);
 * const specialist = { classes: Int32Array.of(0, 1), probabilities: Float64Array.of(0.1, 0.7, 0.2) };
 * fuseNext(Float64Array.of(0.5, 0.3, 0.2), [specialist]).probabilities; // [0.3, 0.5, 0.2]
 */
export function createFuser(mostClasses: number): Fuser {
  const unionRow = new Int32Array(mostClasses).fill(-1);
  return (generalist, specialists, options = {}) => {
    const { out = new Float64Array(generalist.length) } = options;
    checkSizes(generalist, out, unionRow);
    try {
      if (specialists.length === 1) {
        fuseOne(generalist, specialists[0], options.generalistWeight, out, unionRow);
        return { probabilities: out, iterations: 0 };
      }
      const { iterations } = solve(generalist, specialists, options, out, unionRow);
      return { probabilities: out, iterations };
    } finally {
      for (const { classes } of specialists) assign(unionRow, classes, -1);
    }
  };
}

/** The paper's rule: every specialist is believed about its dustbin, too. */
export const paper: FusionRule = {
  name: 'paper',
  title: "the paper's: the distribution with the least KL divergence from all predictions",
  problem: 'minimise over q: w_g KL(p^g || q) + sum over active m of w_m KL(p^m || q^m)',
  parameters: [],
  usesDustbin: () => true,
  // A few passes over the subsets; of several active specialists, some nine steps of the dustbins' system.
  cost: ({ active, inSubsets, groups }) =>
    2 + 0.02 * inSubsets + (active > 1 ? 0.009 * groups * active ** 2 + 0.003 * active ** 3 : 0),
  create(mostClasses) {
    const fuser = createFuser(mostClasses);
    return (generalist, specialists, { generalistWeight = 1, out } = {}) =>
      fuser(generalist, specialists, { generalistWeight, ...(out && { out }) }).probabilities;
  },
  writeGraph: minimiseDivergences,
};

function checkSizes(generalist: Probabilities, out: Float64Array, unionRow: Int32Array): void {
  if (generalist.length <= unionRow.length && out.length === generalist.length) return;
  throw new KdSpecError(
    'fusion-input',
    `expected at most ${unionRow.length} classes and an output of as many as the generalist has, but the ` +
      `generalist has ${generalist.length} and the output ${out.length}`,
  );
}

/** What {@link solve} found beside q: all that the objective needs. */
interface Solution {
  readonly masses: KnownMasses;
  readonly groups: ClassGroups;
  /** (groups), q's mass on each. */
  readonly groupMasses: Float64Array;
  readonly iterations: number;
}

/** Writes q to `out`. `unionRow` (classes or more) is -1 everywhere, and is left filled. */
function solve(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  { generalistWeight = 1, tolerance = 1e-12 }: FuseOptions,
  out: Float64Array,
  unionRow: Int32Array,
): Solution {
  const groups = groupClasses(specialists, generalist.length, unionRow);
  out.set(generalist);
  assign(out, groups.union, 0);
  const bucket = sumOfMasses(out, 'the generalist'); // summed, because 1 - union would cancel
  const masses = knownMasses(generalist, bucket, specialists, generalistWeight, groups, unionRow);
  const { groupMasses, iterations } = shareDustbins(masses, groups, tolerance);
  rescale(out, bucket, groupMasses[0]);
  for (let row = 0; row < groups.union.length; row++) {
    const group = groups.groupOf[row];
    const share = masses.group[group] > 0 ? masses.union[row] / masses.group[group] : 0;
    out[groups.union[row]] = groupMasses[group] * share;
  }
  return { masses, groups, groupMasses, iterations };
}

function assign(values: Float64Array | Int32Array, positions: Int32Array, value: number): void {
  for (let i = 0; i < positions.length; i++) values[positions[i]] = value;
}

/**
 * The fusion with one active specialist, by its closed form.
 *
 *     q_i = (w_g p^g_i + w p^1_i) / (w_g + w)   for i in S,   p^g scaled to the remaining mass elsewhere
 *
 * The general solution gives the same; this one needs no groups of classes, and no memory for them.
 *
 * @param generalist (classes)
 * @param out (classes), where q is written
 * @param seen (classes or more), -1 everywhere; left at 0 or more for the classes of the subset
 * @throws KdSpecError `fusion-input`, as `fuse` does
 *
 * Cost: a copy, a sum and a scaling of the classes, and two passes over the subset.
 */
function fuseOne(
  generalist: Probabilities,
  specialist: SpecialistPrediction,
  generalistWeight = 1,
  out: Float64Array,
  seen: Int32Array,
): void {
  const { classes, probabilities, weight = 1 } = specialist;
  const owner = 'specialist 0';
  const totalWeight = checkWeight(generalistWeight, 'the generalist') + checkWeight(weight, owner);
  checkLengths(specialist, owner);
  const specialistScale = weight / totalWeight / checkedSum(probabilities, owner);

  out.set(generalist);
  let subsetSum = 0;
  for (let i = 0; i < classes.length; i++) {
    const c = checkClass(classes[i], generalist.length, owner);
    if (seen[c] >= 0) throw repeatedClass(owner, c);
    if (!(generalist[c] >= 0)) throw notAProbability('the generalist', c, generalist[c]);
    seen[c] = i;
    subsetSum += generalist[c];
    out[c] = 0;
  }
  const bucket = sumOfMasses(out, 'the generalist'); // summed, because 1 - subset would cancel
  const generalistScale = generalistWeight / totalWeight / checkSum(bucket + subsetSum, 'the generalist');
  const dustbin = specialistScale * probabilities[classes.length];
  if (bucket === 0 && dustbin > 0) throw noClassOutside(owner);

  rescale(out, bucket, generalistScale * bucket + dustbin);
  for (let i = 0; i < classes.length; i++) {
    out[classes[i]] = generalistScale * generalist[classes[i]] + specialistScale * probabilities[i];
  }
}

/**
 * The fusion's objective at its minimiser q, in nats, from the union and the bucket alone.
 *
 *     w_g KL(p^g || q) + sum over active m of w_m KL(p^m || q^m)
 *
 * @param groupMasses (groups), q's mass on each
 * @param q (classes)
 *
 * Cost: one logarithm for each class of each subset, whatever the number of classes.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, equation 5.
 */
function fusionObjective(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  {
    masses: { generalistWeight, generalistSum, sums, bucket },
    groups: { union, members },
    groupMasses,
  }: { readonly masses: KnownMasses; readonly groups: ClassGroups; readonly groupMasses: Float64Array },
  q: Float64Array,
): number {
  // With p = x / sum as it came: KL(p || q) = (sum of x log(x / q)) / sum - log sum.
  let divergence = divergenceTerm(bucket, groupMasses[0]);
  for (let row = 0; row < union.length; row++) {
    divergence += divergenceTerm(generalist[union[row]], q[union[row]]);
  }
  let objective = generalistWeight * (divergence / generalistSum - Math.log(generalistSum));
  const outside = massesOutside(specialists.length, groupMasses, members);
  for (let m = 0; m < specialists.length; m++) {
    const { classes, probabilities, weight = 1 } = specialists[m];
    divergence = divergenceTerm(probabilities[classes.length], outside[m]);
    for (let i = 0; i < classes.length; i++) divergence += divergenceTerm(probabilities[i], q[classes[i]]);
    objective += weight * (divergence / sums[m] - Math.log(sums[m]));
  }
  return objective;
}

/** One term of KL(p || q). Below 1e-300 it is zero to any precision, while q may have underflowed. */
function divergenceTerm(p: number, q: number): number {
  return p < 1e-300 ? 0 : p * Math.log(p / q);
}

/** Scales values that sum to `from`, so that they sum to `to`. */
function rescale(values: Float64Array, from: number, to: number): void {
  if (from >= tiny) multiply(values, to / from);
  else if (from > 0) {
    multiply(values, 1 / tiny); // in two steps, because to / from might overflow
    multiply(values, to / (from / tiny));
  }
}

/** Far below any probability that matters, and far above where numbers lose their digits. */
const tiny = 1e-200;

/** In eights, which halves the time: it is the one loop over all classes that writes. */
function multiply(values: Float64Array, factor: number): void {
  const whole = values.length - (values.length % 8);
  for (let i = 0; i < whole; i += 8) {
    values[i] *= factor;
    values[i + 1] *= factor;
    values[i + 2] *= factor;
    values[i + 3] *= factor;
    values[i + 4] *= factor;
    values[i + 5] *= factor;
    values[i + 6] *= factor;
    values[i + 7] *= factor;
  }
  for (let i = whole; i < values.length; i++) values[i] *= factor;
}
