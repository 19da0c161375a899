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
 * Costs as much as `softmaxCrossEntropy` on wasm, and a few more passes over the logits in JavaScript.
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
  const loss = tf.customGrad((...parameters) => {
    const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [batch, classes] = logits.shape;
    const softmax = heap ? softmaxOnHeap(heap, logits) : tf.softmax(logits);
    const z = valuesOf(logits, heap);
    const q = valuesOf(softmax, heap);
    const perRow = rows.map((row, index) => {
      const [start, end] = [index * classes, (index + 1) * classes];
      return rowLoss(z.subarray(start, end), q.subarray(start, end), row, rest);
    });
    const value = perRow.reduce((sum, { loss }, index) => sum + rows[index].weight * loss, 0) / batch;
    save([softmax]);
    return {
      value: tf.scalar(value),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const output = heap?.allocate([batch, classes]);
        const values = output && heap ? heap.values(output) : new Float32Array(batch * classes);
        const upstream = valuesOf(dy, heap)[0] / batch;
        const q = valuesOf(saved[0], heap);
        for (const [index, row] of rows.entries()) {
          const [start, end] = [index * classes, (index + 1) * classes];
          const { unlistedShare } = perRow[index];
          const out = values.subarray(start, end);
          writeGradient(out, q.subarray(start, end), row, { rest, unlistedShare, upstream });
        }
        return output ?? tf.tensor2d(values, [batch, classes]);
      },
    };
  });
  return loss(logits) as tf.Scalar;
}

type Values = Float32Array | Int32Array | Uint8Array;

/** In place where they lie on the heap, until it grows; else a copy. */
function valuesOf(tensor: tf.Tensor, heap: Heap | undefined): Values {
  return heap ? heap.values(tensor) : tensor.dataSync();
}

function softmaxOnHeap(heap: Heap, logits: tf.Tensor2D): tf.Tensor2D {
  const [batch, classes] = logits.shape;
  const statistics = heap.allocate([batch, 3]);
  heap.call('softmaxStatistics', heap.address(logits), batch, 4 * classes, heap.address(statistics));
  const output = heap.allocate([batch, classes]);
  heap.call(
    'softmaxGradient', // without labels: the softmax itself
    heap.address(logits),
    batch,
    4 * classes,
    heap.address(statistics),
    heap.address(output),
    1,
    0,
    smallestShare,
  );
  statistics.dispose();
  return output as tf.Tensor2D;
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

/**
 * The loss of a row, and the share of the unlisted classes in its softmax (for buckets with something in them).
 *
 * @param z (classes), its logits
 * @param q (classes), their softmax
 */
function rowLoss(
  z: Values,
  q: Values,
  { indices, values, rest, unlisted }: TargetRow,
  kind: RemainingMass,
): { readonly loss: number; readonly unlistedShare: number } {
  let first = 0;
  let sum = 0;
  for (let index = 0; index < z.length; index++) {
    sum += z[index];
    if (z[index] > z[first]) first = index;
  }
  const total = z[first] - Math.log(q[first]); // log sum exp(z)
  let loss = 0;
  for (let k = 0; k < indices.length; k++) {
    loss += values[k] * (total - z[indices[k]]);
    sum -= z[indices[k]];
  }
  if (rest === 0) return { loss, unlistedShare: 0 };
  if (kind === 'spread') return { loss: loss + rest * (total - sum / unlisted), unlistedShare: 0 };
  let share = 0; // added up over the classes that are not listed, since a difference would cancel
  const isListed = new Uint8Array(z.length);
  for (const index of indices) isListed[index] = 1;
  for (let index = 0; index < q.length; index++) if (isListed[index] === 0) share += q[index];
  const unlistedShare = Math.max(smallestShare, share);
  return { loss: loss - rest * Math.log(unlistedShare), unlistedShare };
}

/** Writes the gradient of a row's loss by its logits, `upstream` times. */
function writeGradient(
  out: Values,
  q: Values,
  { indices, values, weight, rest, unlisted }: TargetRow,
  {
    rest: kind,
    unlistedShare,
    upstream,
  }: { readonly rest: RemainingMass; readonly unlistedShare: number; readonly upstream: number },
): void {
  const scale = upstream * weight;
  const isBucket = kind === 'bucket' && rest > 0;
  const factor = isBucket ? 1 - rest / unlistedShare : 1;
  const target = isBucket || rest === 0 ? 0 : rest / unlisted;
  for (let index = 0; index < q.length; index++) {
    const value = scale * (factor * q[index] - target);
    out[index] = Math.abs(value) > smallestGradient ? value : 0;
  }
  for (let k = 0; k < indices.length; k++) {
    const value = scale * (q[indices[k]] - values[k]);
    out[indices[k]] = Math.abs(value) > smallestGradient ? value : 0;
  }
}
