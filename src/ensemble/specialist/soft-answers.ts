import type { TeacherTargets } from '../../training/distillation-loss.js';
import { drawingRatio, type OutsiderMasses } from './outsiders.js';

/** How the generalist's prediction becomes what a specialist is taught: {@link softAnswers}, `fullAnswers`. */
export interface SoftAnswers {
  /** How many numbers an answer is. */
  readonly width: number;
  /**
   * What a row is taught, (width), from the generalist's most probable classes, their probabilities and the label, a
   * class of the data set.
   */
  answer(indices: Int32Array, values: Float32Array, label: number): Float32Array;
}

/**
 * The generalist's own answers as soft targets of a specialist: collapsed to the subset and the dustbin, and as they
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
 * @returns answers of s + 1 numbers, the dustbin last, for {@link softTeacher}
 *
 * Source: Hinton, Vinyals and Dean (2015), section 6, where the specialist keeps the full softmax and the classes
 * outside the subset have soft targets (`fullAnswers`); here they are one outcome, so that a specialist stays small.
 */
export function softAnswers(
  classes: readonly number[],
  correction: number,
  masses: OutsiderMasses | undefined,
): SoftAnswers {
  const outputOf = new Map(classes.map((label, output) => [label, output]));
  const dustbin = classes.length;
  return {
    width: classes.length + 1,
    answer(indices, values) {
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
 * The soft targets of a batch, from rows that {@link softAnswers} made, beside labels.
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
