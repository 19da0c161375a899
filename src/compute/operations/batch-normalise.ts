import * as tf from '@tensorflow/tfjs';
import { assertShape, channelsOf } from '../tensor-shape.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

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
  const channels = channelsOf('batchNormalise: x', x);
  assertShape('batchNormalise: gamma', gamma, [channels]);
  assertShape('batchNormalise: beta', beta, [channels]);
  const heap = wasmHeap();
  if (!heap) {
    const { mean, variance } = tf.moments(x, allButLast(x));
    const output = normalise(x, mean as tf.Tensor1D, variance as tf.Tensor1D, gamma, beta, { epsilon });
    return { output, mean: mean as tf.Tensor1D, variance: variance as tf.Tensor1D };
  }
  const statistics: { mean?: tf.Tensor1D; variance?: tf.Tensor1D } = {};
  const layer = tf.customGrad((...parameters) => {
    const [x, gamma, beta, save] = parameters as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
    const { mean, variance } = columnMoments(heap, x);
    statistics.mean = tf.keep(mean);
    statistics.variance = tf.keep(variance);
    save([x, gamma, mean, variance]);
    return {
      value: scaleColumns(heap, x, ...fold(mean, variance, gamma, beta, epsilon)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, gamma, mean, variance] = saved as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
        return gradients(heap, dy, x, gamma, mean, variance, epsilon);
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
  const channels = channelsOf('normalise: x', x);
  for (const [name, vector] of Object.entries({ mean, variance, gamma, beta })) {
    assertShape(`normalise: ${name}`, vector, [channels]);
  }
  const heap = wasmHeap();
  if (!heap) {
    const [scale, shift] = fold(mean, variance, gamma, beta, epsilon);
    return tf.add(tf.mul(x, scale), shift);
  }
  const layer = tf.customGrad((...parameters) => {
    const [x, mean, variance, gamma, beta, save] = parameters as [
      tf.Tensor,
      tf.Tensor1D,
      tf.Tensor1D,
      tf.Tensor1D,
      tf.Tensor1D,
      tf.GradSaveFunc,
    ];
    const [scale, shift] = fold(mean, variance, gamma, beta, epsilon);
    save([x, mean, variance, gamma, scale]);
    return {
      value: scaleColumns(heap, x, scale, shift),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, mean, variance, gamma, scale] = saved as [tf.Tensor, ...tf.Tensor1D[]] as [
          tf.Tensor,
          tf.Tensor1D,
          tf.Tensor1D,
          tf.Tensor1D,
          tf.Tensor1D,
        ];
        const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
        const { sums, products } = gradientSums(heap, dy, x, mean);
        const dGamma = tf.mul(products, inverse);
        const dVariance = tf.mul(tf.mul(dGamma, gamma), tf.mul(tf.square(inverse), -0.5));
        const dx = scaleColumns(heap, dy, scale, tf.zerosLike(scale));
        return [dx, tf.neg(tf.mul(sums, scale)), dVariance, dGamma, sums];
      },
    };
  });
  return layer(x, mean, variance, gamma, beta);
}

/** The multiplier and the addend of each channel: (channels) both. */
function fold(
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
): [tf.Tensor1D, tf.Tensor1D] {
  const scale = tf.mul<tf.Tensor1D>(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  return [scale, tf.sub(beta, tf.mul(mean, scale))];
}

function gradients(
  heap: Heap,
  dy: tf.Tensor,
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  epsilon: number,
): tf.Tensor[] {
  const [rows] = matrixShape(x);
  const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
  const { sums, products } = gradientSums(heap, dy, x, mean); // sum(dy), sum(dy (x - mean))
  const dGamma = tf.mul(products, inverse);
  // dx = a dy + b x + d, each (channels).
  const a = tf.mul(gamma, inverse);
  const b = tf.mul(tf.mul(tf.mul(a, inverse), dGamma), -1 / rows);
  const d = tf.sub(tf.mul(tf.mul(a, sums), -1 / rows), tf.mul(b, mean));
  return [mixColumns(heap, dy, x, a, b, d), dGamma, sums];
}

/** (..., channels) as the shape of a matrix. */
function matrixShape(x: tf.Tensor): [rows: number, channels: number] {
  const channels = x.shape[x.rank - 1] ?? 1;
  return [x.size / channels, channels];
}

function allButLast(x: tf.Tensor): number[] {
  return Array.from({ length: x.rank - 1 }, (_, axis) => axis);
}

function columnMoments(heap: Heap, x: tf.Tensor): { mean: tf.Tensor1D; variance: tf.Tensor1D } {
  const [rows, channels] = matrixShape(x);
  const sums = heap.zeros([channels]);
  heap.call('columnSums', heap.address(x), rows, 4 * channels, heap.address(sums));
  const mean = tf.div<tf.Tensor1D>(sums, rows);
  const squares = heap.zeros([channels]);
  heap.call('columnSquares', heap.address(x), heap.address(mean), rows, 4 * channels, heap.address(squares));
  return { mean, variance: tf.div<tf.Tensor1D>(squares, rows) };
}

function gradientSums(heap: Heap, dy: tf.Tensor, x: tf.Tensor, mean: tf.Tensor1D) {
  const [rows, channels] = matrixShape(x);
  const sums = heap.zeros([channels]);
  const products = heap.zeros([channels]);
  const addresses = [x, dy, mean].map(heap.address);
  heap.call(
    'columnGradientSums',
    ...addresses,
    rows,
    4 * channels,
    heap.address(sums),
    heap.address(products),
  );
  return { sums, products };
}

function scaleColumns(heap: Heap, x: tf.Tensor, scale: tf.Tensor1D, shift: tf.Tensor1D): tf.Tensor {
  const [rows, channels] = matrixShape(x);
  const output = heap.allocate(x.shape);
  heap.call('scaleColumns', ...[x, scale, shift].map(heap.address), rows, 4 * channels, heap.address(output));
  return output;
}

function mixColumns(
  heap: Heap,
  dy: tf.Tensor,
  x: tf.Tensor,
  a: tf.Tensor,
  b: tf.Tensor,
  d: tf.Tensor,
): tf.Tensor {
  const [rows, channels] = matrixShape(x);
  const output = heap.allocate(x.shape);
  heap.call('mixColumns', ...[x, dy, a, b, d].map(heap.address), rows, 4 * channels, heap.address(output));
  return output;
}
