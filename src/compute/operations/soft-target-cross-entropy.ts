import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';
import type { CsrMatrix } from '../../math/csr.js';
import { assertShape } from '../tensor-shape.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

/**
 * What the mass is taken to be that a row of targets leaves over, `1 - sum of its entries`.
 *
 * `spread`: evenly on the classes that the row does not list. `bucket`: on all of them together, and nothing is
 * said about how they share it: the loss compares it with the sum of their probabilities.
 */
export type RemainingMass = 'spread' | 'bucket';

export interface SoftTargetOptions {
  readonly rest?: RemainingMass;
  /** (batch), the factor of each row's loss; 1 by default. */
  readonly rowWeights?: Float32Array;
}

/** As in `softmaxCrossEntropy`: gradients below this size are cut to zero. */
const smallestGradient = 1e-25;
/** Stands for a probability that underflowed, where its logarithm is taken. */
const smallestShare = 1e-37;

/**
 * The mean cross-entropy of a softmax with distributions, which may be sparse.
 *
 * `loss = 1/batch sum_r w_r (- sum_{i listed} p_ri log q_ri - R_r)` with `q = softmax(z)`; the rest `m = 1 - sum p`
 * of a row adds `R = m mean_{i not listed} log q_i` when it is spread, and `R = m log sum_{i not listed} q_i` as a
 * bucket. The gradient is `w (q_i - p_i) / batch` where a class is listed; elsewhere `w (q_i - m / unlisted) / batch`
 * when spread, and `w q_i (1 - m / Q) / batch` with `Q` the unlisted classes' mass in q as a bucket.
 * Costs as much as `softmaxCrossEntropy`, and one more pass over the logits for buckets.
 *
 * @param logits (batch, classes)
 * @param targets (batch, classes), each row's values at least 0 and at most 1 together; its columns are distinct
 * @returns a scalar, in nats
 * @throws Error when the shapes do not agree
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, section 2; temperature is the caller's: divide the logits by it
 */
export function softTargetCrossEntropy(
  logits: tf.Tensor2D,
  targets: CsrMatrix,
  { rest = 'spread', rowWeights }: SoftTargetOptions = {},
): tf.Scalar {
  assertShape('softTargetCrossEntropy: logits', logits, [targets.rows, targets.columns]);
  const weights = rowWeights ?? new Float32Array(targets.rows).fill(1);
  if (weights.length !== targets.rows)
    assert(false, `softTargetCrossEntropy: ${weights.length} weights for ${targets.rows} rows`);
  const rows = describeRows(targets, weights, rest);
  const heap = wasmHeap();
  if (!heap) return composed(logits, rows, rest);
  const loss = tf.customGrad((...parameters) => {
    const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [batch, classes] = logits.shape;
    const statistics = heap.allocate([batch, 3]); // largest, sum of exp, sum, both less the largest
    heap.call('softmaxStatistics', heap.address(logits), batch, 4 * classes, heap.address(statistics));
    save([logits, statistics]);
    const perRow = rows.map((row, index) => rowOnHeap(heap, logits, statistics, row, index, rest));
    const value = perRow.reduce((sum, { loss }, index) => sum + rows[index].weight * loss, 0) / batch;
    return {
      value: tf.scalar(value),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [logits, statistics] = saved as [tf.Tensor2D, tf.Tensor2D];
        return gradient(heap, dy, logits, statistics, rows, perRow, rest);
      },
    };
  });
  return loss(logits) as tf.Scalar;
}

/** One row of targets. */
interface TargetRow {
  readonly indices: Int32Array;
  readonly values: Float32Array;
  readonly weight: number;
  /** Mass that the entries leave over. */
  readonly rest: number;
  /** Classes that are not listed. */
  readonly unlisted: number;
}

function describeRows(targets: CsrMatrix, weights: Float32Array, rest: RemainingMass): readonly TargetRow[] {
  const { rows, columns, offsets, indices, values } = targets;
  return Array.from({ length: rows }, (_, row) => {
    const [start, end] = [offsets[row], offsets[row + 1]];
    let sum = 0;
    for (let k = start; k < end; k++) {
      if (!(indices[k] >= 0 && indices[k] < columns && values[k] >= 0))
        assert(false, `softTargetCrossEntropy: row ${row} has ${values[k]} at ${indices[k]} of ${columns}`);
      sum += values[k];
    }
    if (!(sum < 1 + 1e-3)) assert(false, `softTargetCrossEntropy: row ${row} sums to ${sum}, more than 1`);
    const unlisted = columns - (end - start);
    return {
      indices: indices.subarray(start, end),
      values: values.subarray(start, end),
      weight: weights[row],
      rest: unlisted === 0 || (rest === 'bucket' && 1 - sum < 1e-7) ? 0 : Math.max(0, 1 - sum),
      unlisted,
    };
  });
}

/** The loss of a row, and the share of the unlisted classes in its softmax (for buckets with something in them). */
function rowOnHeap(
  heap: Heap,
  logits: tf.Tensor2D,
  statistics: tf.Tensor,
  { indices, values, rest, unlisted }: TargetRow,
  row: number,
  kind: RemainingMass,
): { readonly loss: number; readonly unlistedShare: number } {
  const classes = logits.shape[1];
  const z = heap.values(logits).subarray(row * classes, (row + 1) * classes);
  const [largest, total, shifted] = heap.values(statistics).subarray(3 * row, 3 * row + 3);
  let expected = 0; // sum over listed of p (z - largest)
  let listed = 0;
  for (let k = 0; k < indices.length; k++) {
    const value = z[indices[k]] - largest;
    expected += values[k] * value;
    listed += value;
  }
  const logTotal = Math.log(total);
  if (rest === 0) return { loss: logTotal - expected, unlistedShare: 0 };
  if (kind === 'spread')
    return { loss: logTotal - expected - (rest * (shifted - listed)) / unlisted, unlistedShare: 0 };
  const unlistedShare = Math.max(smallestShare, unlistedExponentials(z, largest, indices) / total);
  return { loss: logTotal - expected - rest * (Math.log(unlistedShare) + logTotal), unlistedShare };
}

/** `sum exp(z_i - largest)` over the classes that are not listed: added up, since a difference would cancel. */
function unlistedExponentials(z: Float32Array | Int32Array, largest: number, indices: Int32Array): number {
  const isListed = new Uint8Array(z.length);
  for (const index of indices) isListed[index] = 1;
  let sum = 0;
  for (let index = 0; index < z.length; index++) {
    if (isListed[index] === 0) sum += Math.exp(z[index] - largest);
  }
  return sum;
}

function gradient(
  heap: Heap,
  dy: tf.Tensor,
  logits: tf.Tensor2D,
  statistics: tf.Tensor,
  rows: readonly TargetRow[],
  perRow: readonly { readonly unlistedShare: number }[],
  kind: RemainingMass,
): tf.Tensor {
  const [batch, classes] = logits.shape;
  const upstream = heap.values(dy)[0] / batch;
  const output = heap.allocate([batch, classes]);
  for (const [row, { weight, rest, unlisted }] of rows.entries()) {
    const isBucket = kind === 'bucket' && rest > 0;
    const scale = upstream * weight;
    heap.call(
      'softmaxGradient',
      heap.address(logits) + 4 * row * classes,
      1,
      4 * classes,
      heap.address(statistics) + 12 * row,
      heap.address(output) + 4 * row * classes,
      isBucket ? scale * (1 - rest / perRow[row].unlistedShare) : scale,
      isBucket || rest === 0 ? 0 : rest / unlisted,
      smallestGradient,
    );
  }
  const z = heap.values(logits);
  const values = heap.values(output);
  const perRowStatistics = heap.values(statistics);
  for (const [row, { indices, values: targets, weight }] of rows.entries()) {
    const [largest, total] = perRowStatistics.subarray(3 * row, 3 * row + 2);
    for (let k = 0; k < indices.length; k++) {
      const position = row * classes + indices[k];
      const probability = Math.exp(z[position] - largest) / total;
      const value = upstream * weight * (probability - targets[k]);
      values[position] = Math.abs(value) > smallestGradient ? value : 0;
    }
  }
  return output;
}

/** The same in operations of TensorFlow.js, with its own gradients, for every other backend. */
function composed(logits: tf.Tensor2D, rows: readonly TargetRow[], kind: RemainingMass): tf.Scalar {
  const [batch, classes] = logits.shape;
  const dense = new Float32Array(batch * classes); // weighted targets
  for (const [row, { indices, values, weight, rest, unlisted }] of rows.entries()) {
    if (kind === 'spread' && rest > 0)
      dense.fill((weight * rest) / unlisted, row * classes, (row + 1) * classes);
    for (let k = 0; k < indices.length; k++) dense[row * classes + indices[k]] = weight * values[k];
  }
  const logProbabilities = tf.logSoftmax(logits); // (batch, classes)
  const listed = tf.sum(tf.mul(logProbabilities, tf.tensor2d(dense, [batch, classes])));
  if (kind === 'spread' || rows.every(({ rest }) => rest === 0)) return tf.div(tf.neg(listed), batch);

  const hidden = new Float32Array(batch * classes); // pushes listed classes out of the sum
  for (const [row, { indices, rest }] of rows.entries())
    if (rest > 0) for (const index of indices) hidden[row * classes + index] = -1e9;
  const bucket = tf.logSumExp(tf.add(logProbabilities, tf.tensor2d(hidden, [batch, classes])), 1); // (batch)
  const masses = tf.tensor1d(rows.map(({ weight, rest }) => weight * rest));
  return tf.div(tf.neg(tf.add(listed, tf.sum(tf.mul(masses, bucket)))), batch);
}
