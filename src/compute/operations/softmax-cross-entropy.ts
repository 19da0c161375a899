import * as tf from '@tensorflow/tfjs';

export interface SoftmaxCrossEntropyOptions {
  /** Share of the target that is spread evenly over all classes, in [0, 1). */
  readonly labelSmoothing?: number;
}

/** Gradients below this size are cut to zero: denormal numbers slow a matrix product a hundredfold. */
const smallestGradient = 1e-25;

/**
 * The mean cross-entropy of a softmax with integer labels.
 *
 * `loss = mean over rows of (log sum_j exp(z_j) - sum_j t_j z_j)`, with `t = (1 - s) onehot(label) + s / classes`
 * and smoothing `s`; its gradient is `(softmax(z) - t) / batch`.
 *
 * @param logits (batch, classes)
 * @param labels (batch), int32, each in [0, classes)
 * @returns a scalar, in nats
 */
export function softmaxCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  { labelSmoothing = 0 }: SoftmaxCrossEntropyOptions = {},
): tf.Scalar {
  const loss = tf.customGrad((...parameters) => {
    const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [, classes] = logits.shape;
    save([logits, labels]);
    const target = targets(labels, classes, labelSmoothing);
    const perRow = tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(logits)), 1));
    return {
      value: tf.mean(perRow),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [logits, labels] = saved as [tf.Tensor2D, tf.Tensor1D];
        const [batch, classes] = logits.shape;
        const difference = tf.sub(tf.softmax(logits), targets(labels, classes, labelSmoothing));
        const gradient = tf.mul(difference, tf.div(dy, batch));
        return tf.mul(gradient, tf.cast(tf.greater(tf.abs(gradient), smallestGradient), 'float32'));
      },
    };
  });
  return loss(logits) as tf.Scalar;
}

function targets(labels: tf.Tensor1D, classes: number, labelSmoothing: number): tf.Tensor2D {
  const hard = tf.cast(tf.oneHot(labels, classes), 'float32'); // (batch, classes)
  return tf.add(tf.mul(hard, 1 - labelSmoothing), labelSmoothing / classes);
}
