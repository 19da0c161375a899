import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import { bool, float32, int, type NativeOperations, string, types } from './native-operations.js';

/** A convolution and its gradients by TensorFlow's Conv2D, Conv2DBackpropInput and Conv2DBackpropFilter. */
export const conv2dBy =
  (native: NativeOperations): Kernels['conv2d'] =>
  (x, filter, { strides, padding, inputGradient }) => {
    const attributes = [
      float32,
      int('strides', [1, strides, strides, 1]),
      string('padding', padding.toUpperCase()),
      string('data_format', 'NHWC'),
      int('dilations', [1, 1, 1, 1]),
    ];
    const shapeOf = (tensor: tf.Tensor) => tf.tensor1d(tensor.shape, 'int32');
    const layer = tf.customGrad((...parameters) => {
      const [x, filter, save] = parameters as [tf.Tensor4D, tf.Tensor4D, tf.GradSaveFunc];
      save([x, filter]);
      return {
        value: native.one('Conv2D', attributes, [x, filter]),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
          const dx = inputGradient
            ? native.one('Conv2DBackpropInput', attributes, [shapeOf(x), filter, dy])
            : tf.zerosLike(x);
          return [dx, native.one('Conv2DBackpropFilter', attributes, [x, shapeOf(filter), dy])];
        },
      };
    });
    return layer(x, filter) as tf.Tensor4D;
  };

/**
 * A fully connected layer and its gradients by TensorFlow's BatchMatMulV2, which transposes on the way, and BiasAdd.
 *
 * Not by its MatMul: a signal that arrives while that one runs corrupts the heap (TensorFlow 2.21, in oneDNN's sgemm).
 * Without AVX-512 this one would not be safe either, see `signalSafety`.
 */
export const denseBy =
  (native: NativeOperations): Kernels['dense'] =>
  (x, weights, bias, { inputGradient, weightsGradient }) => {
    const multiply = (a: tf.Tensor, b: tf.Tensor, { transposeA = false, transposeB = false } = {}) =>
      native.one('BatchMatMulV2', [float32, bool('adj_x', transposeA), bool('adj_y', transposeB)], [a, b]);
    const layer = tf.customGrad((...parameters) => {
      const save = parameters.at(-1) as tf.GradSaveFunc;
      save([x, weights]);
      const product = multiply(x, weights);
      return {
        value: bias ? native.one('BiasAdd', [float32], [product, bias]) : product,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
          const dx = inputGradient ? multiply(dy, weights, { transposeB: true }) : tf.zerosLike(x);
          const dWeights = weightsGradient ? multiply(x, dy, { transposeA: true }) : tf.zerosLike(weights);
          return bias ? [dx, dWeights, native.one('BiasAddGrad', [float32], [dy])] : [dx, dWeights];
        },
      };
    });
    return layer(...[x, weights, ...(bias ? [bias] : [])]) as tf.Tensor2D;
  };

/** Max pooling and its gradient by TensorFlow's MaxPool and MaxPoolGrad. */
export const maxPool2dBy =
  (native: NativeOperations): Kernels['maxPool2d'] =>
  (x, { size, strides, padding }) => {
    const attributes = [
      float32,
      int('ksize', [1, size, size, 1]),
      int('strides', [1, strides, strides, 1]),
      string('padding', padding.toUpperCase()),
      string('data_format', 'NHWC'),
    ];
    const layer = tf.customGrad((...parameters) => {
      const [x, save] = parameters as [tf.Tensor4D, tf.GradSaveFunc];
      const output = native.one('MaxPool', attributes, [x]);
      save([x, output]);
      return {
        value: output,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, output] = saved as [tf.Tensor4D, tf.Tensor4D];
          return native.one('MaxPoolGrad', attributes, [x, output, dy]);
        },
      };
    });
    return layer(x) as tf.Tensor4D;
  };

/**
 * The mean cross-entropy of a softmax with integer labels, by TensorFlow's operations that make loss and gradient at
 * once: without smoothing no target matrix is made.
 */
export const softmaxCrossEntropyBy =
  (native: NativeOperations): Kernels['softmaxCrossEntropy'] =>
  (logits, labels, labelSmoothing) => {
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
  };

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
