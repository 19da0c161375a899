import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { assertIntegers, assertShape } from '../tensor-shape.js';
import { nativeOperations } from '../tensorflow/native-operations.js';
import { softmaxCrossEntropyNative } from '../tensorflow/softmax-cross-entropy.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

export interface SoftmaxCrossEntropyOptions {
  /** Share of the target that is spread evenly over all classes, in [0, 1). */
  readonly labelSmoothing?: number;
}

/** Gradients below this size are cut to zero: on some processors denormal numbers slow the products that follow. */
const smallestGradient = 1e-25;

/**
 * The mean cross-entropy of a softmax with integer labels.
 *
 * `loss = mean over rows of (log sum_j exp(z_j) - sum_j t_j z_j)`, with `t = (1 - s) onehot(label) + s / classes`
 * and smoothing `s`; its gradient is `(softmax(z) - t) / batch`. Costs two passes over the logits, and
 * the gradient one.
 *
 * @param logits (batch, classes)
 * @param labels (batch), int32, each in [0, classes)
 * @returns a scalar, in nats
 * @throws Error when the shapes do not agree
 * @throws KdSpecError `dataset-invalid` when a label is no class, on wasm
 * @see Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 7, for the smoothing
 */
export function softmaxCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  { labelSmoothing = 0 }: SoftmaxCrossEntropyOptions = {},
): tf.Scalar {
  assertShape('softmaxCrossEntropy: logits', logits, ['batch', 'classes']);
  assertIntegers('softmaxCrossEntropy: labels', labels, logits.shape[0]);
  const heap = wasmHeap();
  const native = nativeOperations();
  if (native) return softmaxCrossEntropyNative(native, logits, labels, labelSmoothing);
  if (!heap) return tf.losses.softmaxCrossEntropy(targets(labels, logits.shape[1], labelSmoothing), logits);
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
}

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
    const [largest, total, shifted] = perRow.subarray(3 * row, 3 * row + 3) as unknown as [
      number,
      number,
      number,
    ];
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

function targets(labels: tf.Tensor1D, classes: number, labelSmoothing: number): tf.Tensor2D {
  const hard = tf.cast(tf.oneHot(labels, classes), 'float32'); // (batch, classes)
  return tf.add(tf.mul(hard, 1 - labelSmoothing), labelSmoothing / classes);
}
