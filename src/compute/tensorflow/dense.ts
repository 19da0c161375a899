import * as tf from '@tensorflow/tfjs';
import { bool, float32, type NativeOperations } from './native-operations.js';

/** A fully connected layer and its gradients by TensorFlow's MatMul, which transposes on the way, and BiasAdd. */
export function denseNative(
  native: NativeOperations,
  x: tf.Tensor2D,
  weights: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
  { inputGradient }: { inputGradient: boolean },
): tf.Tensor2D {
  const multiply = (a: tf.Tensor, b: tf.Tensor, { transposeA = false, transposeB = false } = {}) =>
    native.one('MatMul', [float32, bool('transpose_a', transposeA), bool('transpose_b', transposeB)], [a, b]);
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
