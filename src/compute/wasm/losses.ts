import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { TargetRow } from '../tensorflow-js/target-rows.js';
import type { Heap } from './heap.js';

/** Gradients below this size are cut to zero: on some processors denormal numbers slow the products that follow. */
const smallestGradient = 1e-25;
/** Stands for a probability that underflowed, where its logarithm is taken. */
const smallestShare = 1e-37;

/** The cross-entropy with integer labels: two passes over the logits, and for the gradient one. */
export const softmaxCrossEntropyOn =
  (heap: Heap): Kernels['softmaxCrossEntropy'] =>
  (logits, labels, labelSmoothing) => {
    const loss = tf.customGrad((...parameters) => {
      const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const [batch, classes] = logits.shape;
      const statistics = heap.allocate([batch, 3]); // largest, sum of exp, sum, both less the largest
      heap.call('softmaxStatistics', heap.address(logits), batch, 4 * classes, heap.address(statistics));
      save([logits, labels, statistics]);
      return {
        value: tf.scalar(meanLoss(heap, logits, labels, statistics, labelSmoothing)),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [logits, labels, statistics] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor2D];
          return gradient(heap, dy, logits, labels, statistics, labelSmoothing);
        },
      };
    });
    return loss(logits) as tf.Scalar;
  };

function meanLoss(
  heap: Heap,
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  statistics: tf.Tensor,
  labelSmoothing: number,
): number {
  const [batch, classes] = logits.shape;
  const z = heap.values(logits);
  const perRow = heap.values(statistics);
  let sum = 0;
  heap.values(labels).forEach((label, row) => {
    if (!(label >= 0 && label < classes)) {
      throw new KdSpecError(
        'dataset-invalid',
        `expected labels from 0 to ${classes - 1}, got ${label} at row ${row} of the batch: ` +
          'the network must have an output for every class of the data set',
      );
    }
    const [largest, total, shifted] = perRow.subarray(3 * row, 3 * row + 3);
    const hard = (z[row * classes + label] ?? Number.NaN) - largest;
    sum += Math.log(total) - (1 - labelSmoothing) * hard - (labelSmoothing * shifted) / classes;
  });
  return sum / batch;
}

function gradient(
  heap: Heap,
  dy: tf.Tensor,
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  statistics: tf.Tensor,
  labelSmoothing: number,
): tf.Tensor {
  const [batch, classes] = logits.shape;
  const scale = (heap.values(dy)[0] ?? Number.NaN) / batch;
  const output = heap.allocate([batch, classes]);
  heap.call(
    'softmaxGradient',
    heap.address(logits),
    batch,
    4 * classes,
    heap.address(statistics),
    heap.address(output),
    scale,
    labelSmoothing / classes,
    smallestGradient,
  );
  const values = heap.values(output);
  heap.values(labels).forEach((label, row) => {
    const position = row * classes + label;
    values[position] = (values[position] ?? 0) - (1 - labelSmoothing) * scale;
  });
  return output;
}

/** The cross-entropy with distributions: the softmax in a kernel, what the rows list in JavaScript, in place. */
export const softTargetCrossEntropyOn =
  (heap: Heap): Kernels['softTargetCrossEntropy'] =>
  (logits, rows) => {
    const loss = tf.customGrad((...parameters) => {
      const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const [batch, classes] = logits.shape;
      const softmax = softmaxOn(heap, logits);
      const z = heap.values(logits);
      const q = heap.values(softmax);
      const perRow = rows.map((row, index) => {
        const [start, end] = [index * classes, (index + 1) * classes];
        return rowLoss(z.subarray(start, end), q.subarray(start, end), row);
      });
      const value = perRow.reduce((sum, { loss }, index) => sum + rows[index].weight * loss, 0) / batch;
      save([softmax]);
      return {
        value: tf.scalar(value),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const output = heap.allocate([batch, classes]);
          const values = heap.values(output);
          const upstream = heap.values(dy)[0] / batch;
          const q = heap.values(saved[0]);
          for (const [index, row] of rows.entries()) {
            const [start, end] = [index * classes, (index + 1) * classes];
            const { unlistedShare } = perRow[index];
            const out = values.subarray(start, end);
            writeGradient(out, q.subarray(start, end), row, { unlistedShare, upstream });
          }
          return output;
        },
      };
    });
    return loss(logits) as tf.Scalar;
  };

type Values = Float32Array | Int32Array;

function softmaxOn(heap: Heap, logits: tf.Tensor2D): tf.Tensor2D {
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

/**
 * The loss of a row, and the share of the unlisted classes in its softmax (for buckets with something in them).
 *
 * @param z (classes), its logits
 * @param q (classes), their softmax
 */
function rowLoss(
  z: Values,
  q: Values,
  { indices, values, rest, kind, unlisted }: TargetRow,
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
  { indices, values, weight, rest, kind, unlisted }: TargetRow,
  { unlistedShare, upstream }: { readonly unlistedShare: number; readonly upstream: number },
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
