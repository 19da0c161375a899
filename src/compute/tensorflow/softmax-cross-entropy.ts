import * as tf from '@tensorflow/tfjs';
import { float32, int, type NativeOperations, types } from './native-operations.js';

/**
 * The mean cross-entropy of a softmax with integer labels, by TensorFlow's operations that make loss and gradient at
 * once: without smoothing no target matrix is made.
 */
export function softmaxCrossEntropyNative(
  native: NativeOperations,
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  labelSmoothing: number,
): tf.Scalar {
  const [batch, classes] = logits.shape;
  const loss = tf.customGrad((...parameters) => {
    const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [losses, gradient] = (
      labelSmoothing === 0
        ? native.run(
            'SparseSoftmaxCrossEntropyWithLogits',
            [float32, types('Tlabels', 'int32')],
            [logits, labels],
            2,
          )
        : native.run(
            'SoftmaxCrossEntropyWithLogits',
            [float32],
            [logits, smoothTargets(native, labels, classes, labelSmoothing)],
            2,
          )
    ) as [tf.Tensor1D, tf.Tensor2D];
    save([gradient]);
    return {
      value: tf.mean(losses),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(saved[0] as tf.Tensor2D, tf.div(dy, batch)),
    };
  });
  return loss(logits) as tf.Scalar;
}

/** `(1 - s) onehot(label) + s / classes`, (batch, classes), in one pass. */
function smoothTargets(
  native: NativeOperations,
  labels: tf.Tensor1D,
  classes: number,
  labelSmoothing: number,
): tf.Tensor {
  const off = labelSmoothing / classes;
  return native.one(
    'OneHot',
    [float32, types('TI', 'int32'), int('axis', -1)],
    [labels, tf.scalar(classes, 'int32'), tf.scalar(1 - labelSmoothing + off), tf.scalar(off)],
  );
}
