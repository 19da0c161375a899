import * as tf from '@tensorflow/tfjs';
import { bool, float32, type NativeOperations } from './native-operations.js';

/**
 * A fully connected layer and its gradients by TensorFlow's BatchMatMulV2, which transposes on the way, and BiasAdd.
 *
 * Not by its MatMul: a signal that arrives while that one runs corrupts the heap (TensorFlow 2.21, in oneDNN's sgemm).
 * Without AVX-512 this one would not be safe either, see `signalSafety`.
 */
export function denseNative(
  native: NativeOperations,
  x: tf.Tensor2D,
  weights: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
  { inputGradient }: { inputGradient: boolean },
): tf.Tensor2D {
  const multiply = (a: tf.Tensor, b: tf.Tensor, { transposeA = false, transposeB = false } = {}) =>
    native.one('BatchMatMulV2', [float32, bool('adj_x', transposeA), bool('adj_y', transposeB)], [a, b]);
  const layer = tf.customGrad((...parameters) => {
    const save = parameters.at(-1) as unknown as tf.GradSaveFunc;
    save([x, weights]);
    const product = multiply(x, weights);
    return {
      value: bias ? native.one('BiasAdd', [float32], [product, bias]) : product,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
        const dx = inputGradient ? multiply(dy, weights, { transposeB: true }) : tf.zerosLike(x);
        const dWeights = multiply(x, dy, { transposeA: true });
        return bias ? [dx, dWeights, native.one('BiasAddGrad', [float32], [dy])] : [dx, dWeights];
      },
    };
  });
  return layer(...[x, weights, ...(bias ? [bias] : [])]) as tf.Tensor2D;
}
