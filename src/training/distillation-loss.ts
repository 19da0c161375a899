import type { Operations, RemainingMass, Scalar, Tensor2D } from '../compute/operations.js';
import { KdSpecError } from '../core/errors.js';
import type { CsrMatrix } from '../math/csr.js';

/**
 * What a teacher predicts for the examples of a batch, and how much it and the label count for each.
 *
 * An example with a soft weight of 0 has a hard target alone; one with a hard weight of 0 may be without a label.
 * So the choice between soft and hard targets is free for each example (section 6.1: hard for a specialist's own
 * classes, soft for the others).
 */
export type TeacherTargets = SoftTargets | TeacherLogits;

interface Weights {
  /** (batch), factor of the teacher's term, 0 or more. */
  readonly softWeights: Float32Array;
  /** (batch), factor of the label's term, 0 or more. */
  readonly hardWeights: Float32Array;
}

/** The teacher's distributions at a temperature. */
export interface SoftTargets extends Weights {
  readonly kind: 'probabilities';
  /**
   * (batch, outputs), `softmax(v / temperature)` for the teacher's logits v. A row may be full, or list its largest
   * entries alone: what they leave over is then `rest`.
   */
  readonly probabilities: CsrMatrix;
  readonly rest: RemainingMass;
  /** T, above 0, of the targets and of the student. */
  readonly temperature: number;
}

/** The teacher's logits themselves. */
export interface TeacherLogits extends Weights {
  readonly kind: 'logits';
  /** (batch, outputs); a constant added to a row changes nothing. */
  readonly logits: Float32Array;
}

/**
 * The two terms of a student's objective, each a mean over the batch.
 *
 * With distributions: `soft = T² H(p_T, softmax(z / T))`; the factor keeps the size of its gradient over T. With
 * logits: `soft = 1 / (2 outputs) sum_i (z_i - v_i)²`, both centred over the outputs, which is the limit of the former
 * for large T, less its constant. `hard = H(label, softmax(z))`. Examples are weighted.
 *
 * @param logits (batch, outputs), the student's z
 * @param labels (batch), read only where the hard weight is not 0
 * @returns the sum of both, a scalar
 * @throws Error when shapes do not agree
 * @throws KdSpecError `dataset-invalid` when an example with a hard weight has a label that is no output
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, sections 2 and 2.1
 */
export function distillationLoss(
  operations: Operations,
  logits: Tensor2D,
  labels: Int32Array,
  teacher: TeacherTargets,
  { labelSmoothing = 0 }: { labelSmoothing?: number } = {},
): Scalar {
  const { softWeights, hardWeights } = teacher;
  const terms: Scalar[] = [];
  if (softWeights.some((weight) => weight !== 0)) terms.push(teacherTerm(operations, logits, teacher));
  if (hardWeights.some((weight) => weight !== 0)) {
    const targets = hardTargets(labels, hardWeights, logits.shape[1], labelSmoothing);
    terms.push(operations.softTargetCrossEntropy(logits, targets, { rowWeights: hardWeights }));
  }
  // A batch that nobody teaches has no gradient.
  if (terms.length === 0) return operations.mul(operations.sum(logits), 0);
  return terms.reduce((sum, term) => operations.add(sum, term));
}

function teacherTerm(operations: Operations, logits: Tensor2D, teacher: TeacherTargets): Scalar {
  if (teacher.kind === 'logits') return matchLogits(operations, logits, teacher);
  const { probabilities, rest, temperature, softWeights } = teacher;
  const atTemperature = temperature === 1 ? logits : operations.div(logits, temperature);
  const crossEntropy = operations.softTargetCrossEntropy(atTemperature, probabilities, {
    rest,
    rowWeights: softWeights,
  });
  return operations.mul(crossEntropy, temperature ** 2);
}

function matchLogits(operations: Operations, z: Tensor2D, { logits, softWeights }: TeacherLogits): Scalar {
  const [batch, outputs] = z.shape;
  const difference = operations.sub(z, operations.tensor(logits, [batch, outputs]));
  const means = operations.reshape(operations.rowMeans(difference), [batch, 1]);
  const centred = operations.sub(difference, means); // (batch, outputs)
  const perExample = operations.rowMeans(operations.square(centred)); // (batch)
  const weighted = operations.mul(perExample, operations.tensor(softWeights, [batch]));
  return operations.div(operations.sum(weighted), 2 * batch);
}

/** (batch, outputs): the label; smoothing reaches the others as the mass that is left over. */
function hardTargets(
  labels: Int32Array,
  weights: Float32Array,
  outputs: number,
  labelSmoothing: number,
): CsrMatrix {
  labels.forEach((label, row) => {
    if (weights[row] === 0 || (label >= 0 && label < outputs)) return;
    throw new KdSpecError(
      'dataset-invalid',
      `expected labels from 0 to ${outputs - 1}, got ${label} at row ${row} of the batch: ` +
        'an example without a label can have soft targets alone; the network must have an output for every class',
    );
  });
  const values = new Float32Array(labels.length).fill(1 - labelSmoothing + labelSmoothing / outputs);
  const indices = labels.map((label, row) => (weights[row] === 0 ? 0 : label));
  const offsets = Int32Array.from({ length: labels.length + 1 }, (_, row) => row);
  return { rows: labels.length, columns: outputs, offsets, indices, values };
}
