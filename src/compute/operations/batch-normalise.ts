import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';
import { assertShape, channelsOf } from '../tensor-shape.js';
import { batchNormaliseNative, normaliseNative } from '../tensorflow/batch-normalise.js';
import { nativeOperations } from '../tensorflow/native-operations.js';
import {
  type Activation,
  type Affine,
  affineOf,
  columnMoments,
  gradientSums,
  mixColumns,
  scaleColumns,
} from '../wasm/columns.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

export interface BatchNormaliseOptions {
  /** Added to the variance before its square root is taken. */
  readonly epsilon?: number;
  /** What follows in the same pass over memory, forward and backward. */
  readonly activation?: Activation;
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
 * `output = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta)`, with mean and variance over all axes
 * but the last. Its gradient is `gamma / s (dy - mean(dy) - n mean(dy n))`, `s` the deviation, `n` the normalised
 * x. Costs three passes over x, and its gradient two over x and dy.
 *
 * @param x (..., channels)
 * @param gamma (channels)
 * @param beta (channels)
 * @throws Error when the shapes do not agree
 * @see Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, section 3
 */
export function batchNormalise(
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  { epsilon = 1e-3, activation = 'none' }: BatchNormaliseOptions = {},
): BatchNormalised {
  const channels = channelsOf('batchNormalise: x', x);
  assertShape('batchNormalise: gamma', gamma, [channels]);
  assertShape('batchNormalise: beta', beta, [channels]);
  const heap = wasmHeap();
  const native = nativeOperations();
  if (native) return batchNormaliseNative(native, x, gamma, beta, { epsilon, activation });
  if (!heap) {
    const { mean, variance } = tf.moments(x, allButLast(x)) as Pick<BatchNormalised, 'mean' | 'variance'>;
    const output = normalise(x, mean, variance, gamma, beta, { epsilon, activation });
    return { output, mean: detached(mean), variance: detached(variance) };
  }
  const statistics: { mean?: tf.Tensor1D; variance?: tf.Tensor1D } = {};
  const layer = tf.customGrad((...parameters) => {
    const [x, gamma, beta, save] = parameters as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
    const { mean, variance } = columnMoments(heap, x);
    statistics.mean = tf.keep(mean);
    statistics.variance = tf.keep(variance);
    const affine = affineOf(mean, variance, gamma, beta, epsilon);
    save([x, mean, variance, affine.scale, affine.shift]);
    return {
      value: scaleColumns(heap, x, affine, activation),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, mean, variance, scale, shift] = saved as Saved;
        return gradients(heap, dy, x, mean, variance, { scale, shift }, { epsilon, activation });
      },
    };
  });
  const output = layer(x, gamma, beta);
  return { output, mean: release(statistics.mean), variance: release(statistics.variance) };
}

/** The same values, through which no gradient flows. */
const detached = tf.customGrad((x) => ({
  value: tf.clone(x as tf.Tensor),
  gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
})) as <T extends tf.Tensor>(x: T) => T;

type Saved = [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];

/** A tensor made inside a custom gradient outlives its scope by `keep`; a clone belongs to the caller's. */
function release(kept: tf.Tensor1D | undefined): tf.Tensor1D {
  assert(kept !== undefined, 'batch statistics were not computed');
  const tensor = tf.clone(kept);
  kept.dispose();
  return tensor;
}

function gradients(
  heap: Heap,
  dy: tf.Tensor,
  x: tf.Tensor,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  affine: Affine,
  { epsilon, activation }: Required<BatchNormaliseOptions>,
): tf.Tensor[] {
  const rows = x.size / mean.size;
  const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
  const { sums, products } = gradientSums(heap, dy, x, mean, affine, activation); // sum(dy), sum(dy (x - mean))
  const dGamma = tf.mul(products, inverse);
  // dx = a dy + b x + d, each (channels), with a = gamma / s, which is the scale.
  const a = affine.scale;
  const b = tf.mul(tf.mul(tf.mul(a, inverse), dGamma), -1 / rows);
  const d = tf.sub(tf.mul(tf.mul(a, sums), -1 / rows), tf.mul(b, mean));
  return [mixColumns(heap, dy, x, [a, b, d], affine, activation), dGamma, sums];
}

/**
 * Batch normalisation at inference, with statistics that were gathered in training.
 *
 * `output = activation(x a + (beta - mean a))`, `a = gamma / sqrt(variance + epsilon)`: one multiply and one add.
 * Costs one pass over x, and its gradient two over x and dy.
 *
 * @param x (..., channels)
 * @param mean (channels)
 * @param variance (channels), 0 or more
 * @param gamma (channels)
 * @param beta (channels)
 * @returns the shape of x
 * @throws Error when the shapes do not agree
 * @see Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, algorithm 2
 */
export function normalise(
  x: tf.Tensor,
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  { epsilon = 1e-3, activation = 'none' }: BatchNormaliseOptions = {},
): tf.Tensor {
  const channels = channelsOf('normalise: x', x);
  for (const [name, vector] of Object.entries({ mean, variance, gamma, beta })) {
    assertShape(`normalise: ${name}`, vector, [channels]);
  }
  const heap = wasmHeap();
  const native = nativeOperations();
  if (native) return normaliseNative(native, x, [mean, variance], [gamma, beta], { epsilon, activation });
  if (!heap) {
    const { scale, shift } = affineOf(mean, variance, gamma, beta, epsilon);
    const normalised = tf.add(tf.mul(x, scale), shift);
    return activation === 'relu' ? tf.relu(normalised) : normalised;
  }
  const layer = tf.customGrad((...parameters) => {
    const [x, mean, variance, gamma, beta, save] = parameters as [...Saved, tf.GradSaveFunc];
    const affine = affineOf(mean, variance, gamma, beta, epsilon);
    save([x, mean, variance, gamma, affine.scale, affine.shift]);
    return {
      value: scaleColumns(heap, x, affine, activation),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, mean, variance, gamma, scale, shift] = saved as [...Saved, tf.Tensor1D];
        const affine = { scale, shift };
        const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
        const { sums, products } = gradientSums(heap, dy, x, mean, affine, activation);
        const dGamma = tf.mul(products, inverse);
        const dVariance = tf.mul(tf.mul(dGamma, gamma), tf.mul(tf.square(inverse), -0.5));
        const none = tf.zerosLike(scale);
        const dx = mixColumns(heap, dy, x, [scale, none, none], affine, activation);
        return [dx, tf.neg(tf.mul(sums, scale)), dVariance, dGamma, sums];
      },
    };
  });
  return layer(x, mean, variance, gamma, beta);
}

function allButLast(x: tf.Tensor): number[] {
  return Array.from({ length: x.rank - 1 }, (_, axis) => axis);
}
