import { KdSpecError } from '../core/errors.js';
import { solveDustbins } from './dustbin-equations.js';
import { type ClassGroups, groupClasses } from './fusion-groups.js';
import {
  checkedSum,
  checkLengths,
  checkSum,
  checkWeight,
  notAProbability,
  type Probabilities,
  type SpecialistAnswer,
  sumOfMasses,
} from './fusion-input.js';

export interface FuseOptions {
  /** w_g, the generalist's weight, above 0. */
  readonly generalistWeight?: number;
  /** The greatest residual of the optimality conditions, as a fraction of the total weight. */
  readonly tolerance?: number;
  /** (classes), where the answer is written instead of into a new array. */
  readonly out?: Float64Array;
}

/** The fused distribution of one example. */
export interface Fused {
  /** (classes), sums to 1. */
  readonly probabilities: Float64Array;
  /** The minimum, in nats. */
  readonly objective: number;
  /** Newton steps; 0 without a dustbin to share out. */
  readonly iterations: number;
}

/** See {@link fuse}. */
export type Fuser = (
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  options?: FuseOptions,
) => Fused;

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
 *   write the answer
 * @returns q of shape (classes), the objective in nats, and the number of Newton steps
 * @throws KdSpecError `fusion-input` when something is not a distribution, a class is out of range or comes
 *   twice, or the case is infeasible
 *
 * Cost: one pass over the classes, and beyond it only the union of the active subsets counts.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, equation 5; solved exactly, not by gradient descent.
 *
 * @example
 * const generalist = Float64Array.of(0.5, 0.3, 0.2);
 * const specialist = { classes: Int32Array.of(0, 1), probabilities: Float64Array.of(0.1, 0.7, 0.2) };
 * fuse(generalist, [specialist]).probabilities; // [0.3, 0.5, 0.2]
 */
export function fuse(
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  options: FuseOptions = {},
): Fused {
  return createFuser(generalist.length)(generalist, specialists, options);
}

/**
 * Returns a {@link fuse} for many examples over the same classes, which keeps its working memory.
 *
 * @param classCount the number of classes of every example
 */
export function createFuser(classCount: number): Fuser {
  const unionRow = new Int32Array(classCount).fill(-1); // (classes), row in the union, -1 outside
  return (
    generalist,
    specialists,
    { generalistWeight = 1, tolerance = 1e-12, out = new Float64Array(classCount) } = {},
  ) => {
    if (generalist.length !== classCount || out.length !== classCount) {
      throw new KdSpecError(
        'fusion-input',
        `expected ${classCount} classes, but the generalist has ${generalist.length} and the output ${out.length}`,
      );
    }
    try {
      const groups = groupClasses(specialists, unionRow);
      out.set(generalist);
      assign(out, groups.union, 0);
      const bucket = sumOfMasses(out, 'the generalist'); // summed, because 1 - union would cancel
      const masses = knownMasses(generalist, bucket, specialists, generalistWeight, groups, unionRow);
      const { groupMasses, iterations } = shareDustbins(masses, groups, tolerance);
      const bucketScale = bucket > 0 ? groupMasses[0] / bucket : 0;
      scale(out, bucketScale);
      for (let row = 0; row < groups.union.length; row++) {
        const group = groups.groupOf[row];
        const share = masses.group[group] > 0 ? masses.union[row] / masses.group[group] : 0;
        out[groups.union[row]] = groupMasses[group] * share;
      }
      const objective = fusionObjective(generalist, specialists, masses, groups, groupMasses, out);
      return { probabilities: out, objective, iterations };
    } finally {
      for (const { classes } of specialists) assign(unionRow, classes, -1);
    }
  };
}

function assign(values: Float64Array | Int32Array, positions: Int32Array, value: number): void {
  for (let i = 0; i < positions.length; i++) values[positions[i]] = value;
}

/** In eights, which halves the time: it is the one loop over all classes that writes. */
function scale(values: Float64Array, factor: number): void {
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

/** The masses that are given, before the dustbins are shared out. */
interface KnownMasses {
  readonly generalistWeight: number;
  readonly totalWeight: number;
  /** What `p^g` sums to as it came. */
  readonly generalistSum: number;
  /** (specialists), what each `p^m` sums to as it came. */
  readonly sums: Float64Array;
  /** What the generalist, as it came, puts outside the union. */
  readonly bucket: number;
  /** (u), `a_i / W`: the weighted mass of each class of the union, as a fraction of the total weight. */
  readonly union: Float64Array;
  /** (groups), the same for each group. */
  readonly group: Float64Array;
  /** (specialists), `d_m / W`. */
  readonly dustbins: Float64Array;
}

function knownMasses(
  generalist: Probabilities,
  bucket: number,
  specialists: readonly SpecialistAnswer[],
  generalistWeight: number,
  groups: ClassGroups,
  unionRow: Int32Array,
): KnownMasses {
  checkWeight(generalistWeight, 'the generalist');
  let generalistSum = bucket;
  for (let row = 0; row < groups.union.length; row++) {
    const c = groups.union[row];
    if (!(generalist[c] >= 0)) throw notAProbability('the generalist', c, generalist[c]);
    generalistSum += generalist[c];
  }
  checkSum(generalistSum, 'the generalist');

  let totalWeight = generalistWeight;
  const sums = new Float64Array(specialists.length);
  specialists.forEach((specialist, m) => {
    const owner = `specialist ${m}`;
    checkLengths(specialist, owner);
    totalWeight += checkWeight(specialist.weight ?? 1, owner);
    sums[m] = checkedSum(specialist.probabilities, owner);
  });

  const generalistScale = generalistWeight / totalWeight / generalistSum;
  const union = new Float64Array(groups.union.length);
  const group = new Float64Array(groups.members.length);
  const dustbins = new Float64Array(specialists.length);
  for (let row = 0; row < union.length; row++) union[row] = generalistScale * generalist[groups.union[row]];
  specialists.forEach(({ classes, probabilities, weight = 1 }, m) => {
    const share = weight / totalWeight / sums[m];
    for (let i = 0; i < classes.length; i++) union[unionRow[classes[i]]] += share * probabilities[i];
    dustbins[m] = share * probabilities[classes.length];
  });
  group[0] = generalistScale * bucket;
  for (let row = 0; row < union.length; row++) group[groups.groupOf[row]] += union[row];
  return { generalistWeight, totalWeight, generalistSum, sums, bucket, union, group, dustbins };
}

/** Leaves out the groups and dustbins without mass, and solves for the mass of every group. */
function shareDustbins(
  { group, dustbins }: KnownMasses,
  { members }: ClassGroups,
  tolerance: number,
): { readonly groupMasses: Float64Array; readonly iterations: number } {
  const kept = [...group.keys()].filter((g) => group[g] > 0);
  const full = [...dustbins.keys()].filter((m) => dustbins[m] > 0);
  const outside = new Uint8Array(kept.length * full.length).fill(1); // (kept groups, full dustbins)
  kept.forEach((g, row) => {
    full.forEach((m, column) => {
      if (members[g].includes(m)) outside[row * full.length + column] = 0;
    });
  });
  full.forEach((m, column) => {
    if (kept.some((_, row) => outside[row * full.length + column] === 1)) return;
    throw new KdSpecError(
      'fusion-input',
      `the dustbin of specialist ${m} has mass, but no class outside its subset has any from the generalist or ` +
        'another specialist, so that no distribution fits: give the generalist a softmax without exact zeros, or ' +
        'the specialist no dustbin mass when its subset holds every class',
    );
  });

  const { masses, iterations } = solveDustbins(
    {
      known: Float64Array.from(kept, (g) => group[g]),
      dustbins: Float64Array.from(full, (m) => dustbins[m]),
      outside,
    },
    tolerance,
  );
  const groupMasses = new Float64Array(group.length); // (groups), q_g
  kept.forEach((g, row) => {
    groupMasses[g] = masses[row];
  });
  return { groupMasses, iterations };
}

/** The objective at q, from the union and the bucket alone. */
function fusionObjective(
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  { generalistWeight, generalistSum, sums, bucket }: KnownMasses,
  { union, members }: ClassGroups,
  groupMasses: Float64Array,
  q: Float64Array,
): number {
  // With p = x / sum as it came: KL(p || q) = (sum of x log(x / q)) / sum - log sum.
  let divergence = divergenceTerm(bucket, groupMasses[0]);
  for (let row = 0; row < union.length; row++) {
    const c = union[row];
    divergence += divergenceTerm(generalist[c], q[c]);
  }
  let objective = generalistWeight * (divergence / generalistSum - Math.log(generalistSum));
  specialists.forEach(({ classes, probabilities, weight = 1 }, m) => {
    let massOutside = 0; // t_m; summed, because 1 - Q_m would cancel
    members.forEach((subsets, g) => {
      if (!subsets.includes(m)) massOutside += groupMasses[g];
    });
    divergence = divergenceTerm(probabilities[classes.length], massOutside);
    for (let i = 0; i < classes.length; i++) divergence += divergenceTerm(probabilities[i], q[classes[i]]);
    objective += weight * (divergence / sums[m] - Math.log(sums[m]));
  });
  return objective;
}

/** One term of KL(p || q). Below 1e-300 it is zero to any precision, while q may have underflowed. */
function divergenceTerm(p: number, q: number): number {
  return p < 1e-300 ? 0 : p * Math.log(p / q);
}
