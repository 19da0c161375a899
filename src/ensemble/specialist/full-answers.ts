import type { TeacherTargets } from '../../training/distillation-loss.js';
import { drawingRatio, type OutsiderMasses } from './outsiders.js';
import type { SoftAnswers } from './soft-answers.js';

/** How the targets of a full head are made, see {@link fullAnswers}. */
interface FullAnswerOptions {
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
  /** How much the generalist's whole answer counts beside these targets, in [0, 1). */
  readonly softShare: number;
}

/**
 * The targets of a specialist over all classes (section 6): its label for an example of the subset, and for any other
 * what the generalist says about the classes outside the subset.
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
 * A share of `softShare` of every target is the generalist's whole answer, at the frequencies of training, as in
 * {@link softAnswers}.
 *
 * @returns rows of pairs (output, mass), for {@link fullTeacher}; what they lack to 1 is on classes outside the subset
 * that they do not list
 *
 * Source: Hinton, Vinyals and Dean (2015), section 6.1.
 */
export function fullAnswers({
  inside,
  outputOf,
  listed,
  correction,
  masses,
  softShare,
}: FullAnswerOptions): SoftAnswers {
  const pairs = listed + 1; // the label may be none of them
  return {
    width: 2 * pairs,
    answer(indices, values, label) {
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
        const said = (softShare * value * (isInside ? 1 : factor)) / sum;
        const own = isSpecial || isInside || outside === 0 ? 0 : ((1 - softShare) * value) / outside;
        if (said + own > 0) target.set(output, (target.get(output) ?? 0) + said + own);
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
 * The soft targets of a batch, from rows that {@link fullAnswers} made.
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
