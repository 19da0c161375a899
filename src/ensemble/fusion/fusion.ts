import { KdSpecError } from '../../core/errors.js';
import { type ClassGroups, groupClasses } from './fusion-groups.js';
import { type Probabilities, type SpecialistAnswer, sumOfMasses } from './fusion-input.js';
import { type KnownMasses, knownMasses, shareDustbins } from './fusion-masses.js';
import { fusionObjective } from './fusion-objective.js';
import { fuseOne } from './fusion-one.js';
import { rescale } from './fusion-rescale.js';

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
  /** Newton steps; 0 when at most one dustbin has mass, which needs none. */
  readonly iterations: number;
}

/** {@link fuse} without the objective, whose logarithms would cost more than the rest. */
export type Fuser = (
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
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
  specialists: readonly SpecialistAnswer[],
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
