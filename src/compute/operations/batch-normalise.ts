import * as tf from '@tensorflow/tfjs';

export interface BatchNormaliseOptions {
  /** Added to the variance before its square root is taken. */
  readonly epsilon?: number;
}

export interface BatchNormalised {
  /** Same shape as the input. */
  readonly output: tf.Tensor;
  /** (channels), without gradient. */
  readonly mean: tf.Tensor1D;
  /** (channels), biased (divided by the number of values), without gradient. */
  readonly variance: tf.Tensor1D;
}

/**
 * Batch normalisation in training: every channel is brought to mean 0 and variance 1 over the batch.
 *
 * `output = gamma (x - mean) / sqrt(variance + epsilon) + beta`, with mean and variance over all axes but the
 * last. Its gradient is `gamma / s (dy - mean(dy) - n mean(dy n))`, `s` the deviation, `n` the normalised x.
 *
 * @param x (..., channels)
 * @param gamma (channels)
 * @param beta (channels)
 * @see Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, section 3
 */
export function batchNormalise(
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  { epsilon = 1e-3 }: BatchNormaliseOptions = {},
): BatchNormalised {
  const statistics: { mean?: tf.Tensor1D; variance?: tf.Tensor1D } = {};
  const layer = tf.customGrad((...parameters) => {
    const [x, gamma, beta, save] = parameters as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
    const matrix = rows(x); // (rows, channels)
    const mean = meanOverRows(matrix);
    const variance = meanOverRows(tf.square(tf.sub<tf.Tensor2D>(matrix, mean)));
    statistics.mean = tf.keep(mean);
    statistics.variance = tf.keep(variance);
    save([x, gamma, mean, variance]);
    return {
      value: normalise(x, mean, variance, gamma, beta, { epsilon }),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, gamma, mean, variance] = saved as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
        return gradients(dy, x, gamma, mean, variance, epsilon);
      },
    };
  });
  const output = layer(x, gamma, beta);
  return { output, mean: release(statistics.mean), variance: release(statistics.variance) };
}

/** A tensor made inside a custom gradient outlives its scope by `keep`; a clone belongs to the caller's. */
function release(kept: tf.Tensor1D | undefined): tf.Tensor1D {
  if (!kept) throw new Error('kd-spec defect: batch statistics were not computed');
  const tensor = tf.clone(kept);
  kept.dispose();
  return tensor;
}

/**
 * Batch normalisation at inference, with statistics that were gathered in training.
 *
 * `output = x a + (beta - mean a)`, `a = gamma / sqrt(variance + epsilon)`: one multiply and one add.
 *
 * @param x (..., channels)
 * @param mean (channels)
 * @param variance (channels), 0 or more
 * @param gamma (channels)
 * @param beta (channels)
 * @returns the shape of x
 */
export function normalise(
  x: tf.Tensor,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  { epsilon = 1e-3 }: BatchNormaliseOptions = {},
): tf.Tensor {
  const scale = tf.mul(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  const shift = tf.sub(beta, tf.mul(mean, scale));
  return tf.add(tf.mul(x, scale), shift);
}

function gradients(
  dy: tf.Tensor,
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  epsilon: number,
): tf.Tensor[] {
  const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
  const upstream = rows(dy);
  const normalised = tf.mul(tf.sub(rows(x), mean), inverse);
  const meanUpstream = meanOverRows(upstream);
  const meanProduct = meanOverRows(tf.mul<tf.Tensor2D>(upstream, normalised));
  const centred = tf.sub(tf.sub(upstream, meanUpstream), tf.mul(normalised, meanProduct));
  const dx = tf.reshape(tf.mul(centred, tf.mul(gamma, inverse)), x.shape);
  const [count] = upstream.shape;
  return [dx, tf.mul(meanProduct, count), tf.mul(meanUpstream, count)];
}

/** (..., channels) as (rows, channels). */
function rows(x: tf.Tensor): tf.Tensor2D {
  return tf.reshape(x, [-1, x.shape[x.rank - 1] ?? 1]) as tf.Tensor2D;
}

/** The mean of each column, as a product with a row of ones: faster on wasm than `tf.mean` over axis 0. */
function meanOverRows(matrix: tf.Tensor2D): tf.Tensor1D {
  const [count] = matrix.shape;
  return tf.reshape(tf.matMul(tf.fill([1, count], 1 / count), matrix), [-1]);
}
