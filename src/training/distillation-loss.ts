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
export type TeacherTargets = SoftTargets | DecoupledTargets | TeacherLogits;

interface Weights {
  /** (batch), factor of the teacher's term, 0 or more. */
  readonly softWeights: Float32Array;
  /** (batch), factor of the label's term, 0 or more. */
  readonly hardWeights: Float32Array;
}

/** The teacher's distributions at a temperature. */
export interface SoftTargets extends Weights {
  /** `standardised`: the student's logits are brought to mean 0 and deviation 1, as the teacher's were. */
  readonly kind: 'probabilities' | 'standardised';
  /**
   * (batch, outputs), `softmax(v / temperature)` for the teacher's logits v. A row may be full, or list its largest
   * entries alone: what they leave over is then `rest`.
   */
  readonly probabilities: CsrMatrix;
  readonly rest: RemainingMass;
  /** T, above 0, of the targets and of the student. */
  readonly temperature: number;
}

/** The teacher's distributions at a temperature, in two parts: the label against all others, and the others alone. */
export interface DecoupledTargets extends Weights {
  readonly kind: 'decoupled';
  /** (batch), the mass `p_t` on the label. */
  readonly own: Float32Array;
  /** (batch, outputs), `p_i / (1 - p_t)`, with the label listed at 0. What a row leaves over is `rest`. */
  readonly others: CsrMatrix;
  readonly rest: RemainingMass;
  readonly temperature: number;
  /** Weight of the second part against the first, 0 or more. */
  readonly otherWeight: number;
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
 * Decoupled, with the label's class t and `q = softmax(z / T)`:
 * `soft = T² (-p_t log q_t - (1 - p_t) log(1 - q_t) - w sum_{i != t} p_i/(1 - p_t) log(q_i/(1 - q_t)))`; with
 * `1 - p_t` in the place of the constant w these are the two parts of `T² H(p_T, q)`. Standardised, z is
 * `(z - mean z) / deviation z` in each row.
 *
 * @param logits (batch, outputs), the student's z
 * @param labels (batch), read only where the hard weight is not 0
 * @returns the sum of both, a scalar
 * @throws Error when shapes do not agree
 * @throws KdSpecError `dataset-invalid` when an example that needs a label has one that is no output
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, sections 2 and 2.1; Zhao et al., Decoupled Knowledge Distillation,
 * arXiv 2203.08679, equation 7; Sun et al., Logit Standardization in Knowledge Distillation, arXiv 2403.01427,
 * algorithm 1
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
  if (softWeights.some((weight) => weight !== 0))
    terms.push(teacherTerm(operations, logits, labels, teacher));
  if (hardWeights.some((weight) => weight !== 0)) {
    const targets = hardTargets(labels, hardWeights, logits.shape[1], labelSmoothing);
    terms.push(operations.softTargetCrossEntropy(logits, targets, { rowWeights: hardWeights }));
  }
  // A batch that nobody teaches has no gradient.
  if (terms.length === 0) return operations.mul(operations.sum(logits), 0);
  return terms.reduce((sum, term) => operations.add(sum, term));
}

function teacherTerm(
  operations: Operations,
  logits: Tensor2D,
  labels: Int32Array,
  teacher: TeacherTargets,
): Scalar {
  if (teacher.kind === 'logits') return matchLogits(operations, logits, teacher);
  const { rest, temperature, softWeights } = teacher;
  const z = teacher.kind === 'standardised' ? standardise(operations, logits) : logits;
  const atTemperature = temperature === 1 ? z : operations.div(z, temperature);
  const crossEntropy =
    teacher.kind === 'decoupled'
      ? decoupled(operations, atTemperature, labels, teacher)
      : operations.softTargetCrossEntropy(atTemperature, teacher.probabilities, {
          rest,
          rowWeights: softWeights,
        });
  return operations.mul(crossEntropy, temperature ** 2);
}

const leastVariance = 1e-12; // of a row of logits: without it equal ones would have no gradient

function standardise(operations: Operations, z: Tensor2D): Tensor2D {
  const column = [z.shape[0], 1] as const;
  const centred = operations.sub(z, operations.reshape(operations.rowMeans(z), column));
  const variance = operations.reshape(operations.rowMeans(operations.square(centred)), column);
  return operations.div(centred, operations.sqrt(operations.add(variance, leastVariance)));
}

const outOfReach = -1e4; // added to a logit: nothing is left of its exponential

/** Both parts at a temperature: the label is one listed class and all others its bucket; then a softmax without it. */
function decoupled(
  operations: Operations,
  logits: Tensor2D,
  labels: Int32Array,
  { own, others, rest, otherWeight, softWeights: rowWeights }: DecoupledTargets,
): Scalar {
  const [rows, columns] = logits.shape;
  checkLabels(labels, rowWeights, columns);
  const offsets = Int32Array.from({ length: rows + 1 }, (_, row) => row);
  const indices = labels.map((label, row) => (rowWeights[row] === 0 ? 0 : label));
  const label: CsrMatrix = { rows, columns, offsets, indices, values: own };
  const ofLabel = operations.softTargetCrossEntropy(logits, label, { rest: 'bucket', rowWeights });
  const mask = operations.mul(operations.oneHot(operations.tensor(indices, [rows]), columns), outOfReach);
  const ofOthers = operations.softTargetCrossEntropy(operations.add(logits, mask), others, {
    rest,
    rowWeights,
  });
  return operations.add(ofLabel, operations.mul(ofOthers, otherWeight));
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
  checkLabels(labels, weights, outputs);
  const values = new Float32Array(labels.length).fill(1 - labelSmoothing + labelSmoothing / outputs);
  const indices = labels.map((label, row) => (weights[row] === 0 ? 0 : label));
  const offsets = Int32Array.from({ length: labels.length + 1 }, (_, row) => row);
  return { rows: labels.length, columns: outputs, offsets, indices, values };
}

function checkLabels(labels: Int32Array, weights: Float32Array, outputs: number): void {
  labels.forEach((label, row) => {
    if (weights[row] === 0 || (label >= 0 && label < outputs)) return;
    throw new KdSpecError(
      'dataset-invalid',
      `expected labels from 0 to ${outputs - 1}, got ${label} at row ${row} of the batch: ` +
        'an example without a label can have soft targets alone; the network must have an output for every class',
    );
  });
}
