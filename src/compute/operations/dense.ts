import * as tf from '@tensorflow/tfjs';

/**
 * A fully connected layer without activation: `output = x W + b`.
 *
 * Its gradients transpose explicitly, and the smaller matrix, where a choice exists: matMul with a transpose
 * flag runs ten times slower on wasm.
 *
 * @param x (batch, inputs)
 * @param weights (inputs, units)
 * @param bias (units)
 * @returns (batch, units)
 */
export function dense(x: tf.Tensor2D, weights: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  const layer = tf.customGrad((...parameters) => {
    const [x, weights, bias, save] = parameters as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D, tf.GradSaveFunc];
    save([x, weights]);
    return {
      value: tf.fused.matMul({ a: x, b: weights, bias }),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
        return gradients(dy as tf.Tensor2D, x, weights);
      },
    };
  });
  return layer(x, weights, bias) as tf.Tensor2D;
}

function gradients(dy: tf.Tensor2D, x: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor[] {
  const [batch] = x.shape;
  const [inputs] = weights.shape;
  const dx =
    batch < inputs
      ? tf.transpose(tf.matMul(weights, tf.transpose(dy))) // ((inputs, units) (units, batch)) transposed
      : tf.matMul(dy, tf.transpose(weights)); // (batch, units) (units, inputs)
  const dWeights = tf.matMul(tf.transpose(x), dy); // (inputs, batch) (batch, units)
  const dBias = tf.reshape(tf.matMul(tf.ones([1, batch]), dy), [-1]); // (units)
  return [dx, dWeights, dBias];
}
