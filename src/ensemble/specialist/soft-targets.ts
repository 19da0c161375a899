import type { TeacherTargets } from '../../training/distillation-loss.js';
import { drawingRatio, keptClasses, type OutsiderMasses } from './shared-features.js';
import type { SpecialistHead } from './specialist.js';

/** How many numbers behind a row of features are its targets, and how they are read. */
export type Teaching = { readonly width: number } & (
  | { readonly head: 'dustbin' | 'anchored'; readonly softShare: number }
  | { readonly head: 'full'; readonly inside: number; readonly outputs: number }
);

/**
 * What the generalist's predictions teach a specialist, as its head and its share of soft targets want it.
 *
 * @param options.classes the subset, (s)
 * @param options.outputOf the head's output for each class, (classes)
 * @param options.correction of the dustbin, in nats
 * @param options.masses by which outsiders are drawn, if they are
 * @returns how targets are made and read; undefined where labels alone teach
 */
export function softTargets(
  { head, softShare }: { readonly head: SpecialistHead; readonly softShare: number },
  {
    classes,
    outputOf,
    correction,
    masses,
  }: {
    readonly classes: readonly number[];
    readonly outputOf: Int32Array;
    readonly correction: number;
    readonly masses: OutsiderMasses | undefined;
  },
): { readonly maker: TargetMaker; readonly teaching: Teaching } | undefined {
  if (head === 'full') {
    const inside = classes.length;
    const options = { inside, outputOf, listed: keptClasses, correction, masses, softShare };
    const maker = fullTargets(options);
    return { maker, teaching: { head, width: maker.width, inside, outputs: outputOf.length } };
  }
  if (softShare === 0) return undefined;
  const maker = collapsedTargets(classes, correction, masses);
  return { maker, teaching: { head, width: maker.width, softShare } };
}

/** How the generalist's prediction becomes what a specialist is taught: {@link collapsedTargets}, `fullTargets`. */
export interface TargetMaker {
  /** How many numbers a target is. */
  readonly width: number;
  /**
   * What a row is taught, (width), from the generalist's most probable classes, their probabilities and the label, a
   * class of the data set.
   */
  target(indices: Int32Array, values: Float32Array, label: number): Float32Array;
}

/**
 * The generalist's own predictions as soft targets of a specialist: collapsed to the subset and the dustbin, and as they
 * would be where special examples come as often as in the specialist's training.
 *
 *     t_i = p^g_i  for i in S,   t_dustbin = (1 - sum_S p^g) exp(-correction) ratio(x),   then normalised
 *
 * By Bayes' rule: training multiplies the odds of the dustbin by `exp(-correction)` and, where outsiders are drawn by
 * mass, by the drawing ratio; without that a specialist would be taught a dustbin that is corrected twice. Mixed with
 * the hard targets it holds the specialist to what the generalist learnt from all the data, which a few examples a class
 * would make it forget.
 *
 * @param classes the subset, (s)
 * @param correction of the dustbin logit, in nats
 * @param masses by which outsiders are drawn, if they are
 * @returns targets of s + 1 numbers, the dustbin last, for {@link softTeacher}
 *
 * Source: Hinton, Vinyals and Dean (2015), section 6, where the specialist keeps the full softmax and the classes
 * outside the subset have soft targets (`fullTargets`); here they are one outcome, so that a specialist stays small.
 */
export function collapsedTargets(
  classes: readonly number[],
  correction: number,
  masses: OutsiderMasses | undefined,
): TargetMaker {
  const outputOf = new Map(classes.map((label, output) => [label, output]));
  const dustbin = classes.length;
  return {
    width: classes.length + 1,
    target(indices, values) {
      const target = new Float32Array(classes.length + 1);
      let inside = 0;
      for (let entry = 0; entry < indices.length; entry++) {
        const output = outputOf.get(indices[entry]);
        if (output === undefined) continue;
        target[output] = values[entry];
        inside += values[entry];
      }
      target[dustbin] = Math.max(0, 1 - inside) * Math.exp(-correction) * drawingRatio(inside, masses);
      const sum = inside + target[dustbin];
      for (let output = 0; output <= dustbin; output++) target[output] /= sum;
      return target;
    },
  };
}

/**
 * The soft targets of a batch, from rows that {@link collapsedTargets} made, beside labels.
 *
 * @param rows (batch, outputs)
 * @param options.softShare how much they count beside the labels, in [0, 1]
 */
export function softTeacher(
  rows: Float32Array,
  { width: outputs, softShare }: { readonly width: number; readonly softShare: number },
): TeacherTargets {
  const batch = rows.length / outputs;
  const offsets = Int32Array.from({ length: batch + 1 }, (_, row) => row * outputs);
  const indices = Int32Array.from(rows, (_, entry) => entry % outputs);
  return {
    kind: 'probabilities',
    probabilities: { rows: batch, columns: outputs, offsets, indices, values: rows },
    rest: 'spread',
    temperature: 1,
    softWeights: new Float32Array(batch).fill(softShare),
    hardWeights: new Float32Array(batch).fill(1 - softShare),
  };
}

/** How the targets of a full head are made, see {@link fullTargets}. */
interface FullTargetOptions {
  /** s, the first outputs of the head: the subset. */
  readonly inside: number;
  /** The head's output for each class, (classes). */
  readonly outputOf: Int32Array;
  /** Most classes that a prediction lists. */
  readonly listed: number;
  /** Of the dustbin, in nats. */
  readonly correction: number;
  /** By which outsiders are drawn, if they are. */
  readonly masses: OutsiderMasses | undefined;
  /** How much the generalist's whole prediction counts beside these targets, in [0, 1). */
  readonly softShare: number;
}

/**
 * The targets of a specialist over all classes (section 6): its label for an example of the subset, and for any other
 * what the generalist predicts for the classes outside the subset.
 *
 *     t_i = [i = label]                        for an example of the subset
 *     t_i = p^g_i / (1 - sum_S p^g), i not in S, 0 inside       for any other
 *
 * An outsider is known to be one, so nothing is left to the subset. That is also what makes the dustbin's correction
 * hold: special examples come s / pi times as often as they should and others (1 - s) / (1 - pi) times, so that the
 * targets' mean at an image x is proportional to `s/pi p(i|x)` inside and to `(1-s)/(1-pi) p(S'|x) p(i|x, S')`, S' all
 * classes outside, which is `(1-s)/(1-pi) p(i|x)`. Every outsider's odds are off by the same factor, and the logit of
 * each, or of their sum, is to be raised by `log(((1-pi)/pi) / ((1-s)/s))`. With `p^g_i` inside as well, the mass there
 * would count twice, by a factor that depends on x.
 *
 * A share of `softShare` of every target is the generalist's whole prediction, at the frequencies of training, as in
 * {@link collapsedTargets}.
 *
 * @returns rows of pairs (output, mass), for {@link fullTeacher}; what they lack to 1 is on classes outside the subset
 * that they do not list
 *
 * Source: Hinton, Vinyals and Dean (2015), section 6.1.
 */
export function fullTargets({
  inside,
  outputOf,
  listed,
  correction,
  masses,
  softShare,
}: FullTargetOptions): TargetMaker {
  const pairs = listed + 1; // the label may be none of them
  return {
    width: 2 * pairs,
    target(indices, values, label) {
      let special = 0; // the generalist's mass on the subset
      let others = 0; // on classes outside that are listed
      for (const [entry, index] of indices.entries()) {
        if (outputOf[index] < inside) special += values[entry];
        else others += values[entry];
      }
      const outside = Math.max(others, 1 - special);
      const factor = Math.exp(-correction) * drawingRatio(special, masses); // by which training favours outsiders
      const sum = special + factor * outside;
      const isSpecial = outputOf[label] < inside;
      const target = new Map<number, number>();
      if (isSpecial) target.set(outputOf[label], 1 - softShare);
      for (const [entry, index] of indices.entries()) {
        const output = outputOf[index];
        const value = values[entry];
        const isInside = output < inside;
        const shared = (softShare * value * (isInside ? 1 : factor)) / sum;
        const own = isSpecial || isInside || outside === 0 ? 0 : ((1 - softShare) * value) / outside;
        if (shared + own > 0) target.set(output, (target.get(output) ?? 0) + shared + own);
      }
      const row = new Float32Array(2 * pairs).fill(none);
      let place = 0;
      for (const [output, mass] of target) {
        row[place++] = output;
        row[place++] = mass;
      }
      return row;
    },
  };
}

const none = -1; // in place of an output, after the last one
const leastRest = 1e-6; // what a row lacks to 1 by rounding

/**
 * The soft targets of a batch, from rows that {@link fullTargets} made.
 *
 * What a row lacks to 1 is compared with all unlisted classes outside the subset together; so the classes of the subset
 * are listed, with no mass.
 *
 * @param rows (batch, width)
 * @param options.inside s, the first outputs of the head
 * @param options.outputs of the head
 */
export function fullTeacher(
  rows: Float32Array,
  { width, inside, outputs }: { readonly width: number; readonly inside: number; readonly outputs: number },
): TeacherTargets {
  const batch = rows.length / width;
  const offsets = new Int32Array(batch + 1);
  const indices = new Int32Array(batch * (inside + width / 2));
  const values = new Float32Array(indices.length);
  let end = 0;
  for (let row = 0; row < batch; row++) {
    const start = row * width;
    let sum = 0;
    let stop = start;
    for (; stop < start + width && rows[stop] !== none; stop += 2) sum += rows[stop + 1];
    const first = end;
    if (1 - sum > leastRest) for (let output = 0; output < inside; output++) indices[end++] = output;
    const isWhole = end > first;
    for (let pair = start; pair < stop; pair += 2) {
      const output = rows[pair];
      if (isWhole && output < inside) values[first + output] = rows[pair + 1];
      else {
        indices[end] = output;
        values[end++] = rows[pair + 1];
      }
    }
    offsets[row + 1] = end;
  }
  return {
    kind: 'probabilities',
    probabilities: {
      rows: batch,
      columns: outputs,
      offsets,
      indices: indices.slice(0, end),
      values: values.slice(0, end),
    },
    rest: 'bucket',
    temperature: 1,
    softWeights: new Float32Array(batch).fill(1),
    hardWeights: new Float32Array(batch),
  };
}
