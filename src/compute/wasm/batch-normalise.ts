import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';
import type { Activation, NormaliseOptions } from '../operations.js';
import { affineOf, type Kernels, type NormalisationTensors } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';

/** Batch normalisation in training: three passes over x, and for the gradient two over x and dy. */
export const batchNormaliseOn =
  (heap: Heap): Kernels['batchNormalise'] =>
  (x, { scale: gamma, bias: beta }, { epsilon, activation }) => {
    const statistics: { mean?: tf.Tensor1D; variance?: tf.Tensor1D } = {};
    const layer = tf.customGrad((...parameters) => {
      const [x, gamma, beta, save] = parameters as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
      const { mean, variance } = columnMoments(heap, x);
      statistics.mean = tf.keep(mean);
      statistics.variance = tf.keep(variance);
      const affine = affineOf({ scale: gamma, bias: beta, mean, variance }, epsilon);
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
  };

/** Batch normalisation at inference: one pass over x, and for the gradient two over x and dy. */
export const normaliseOn =
  (heap: Heap): Kernels['normalise'] =>
  (x, { scale: gamma, bias: beta, mean, variance }, { epsilon, activation }) => {
    const layer = tf.customGrad((...parameters) => {
      const [x, mean, variance, gamma, beta, save] = parameters as [...Saved, tf.GradSaveFunc];
      const affine = affineOn(heap, { scale: gamma, bias: beta, mean, variance }, epsilon);
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
  };

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
  { epsilon, activation }: Required<NormaliseOptions>,
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

/** A multiplier and an addend for each channel: (channels) both. */
type Affine = ReturnType<typeof affineOf>;

/** `affineOf` for tensors that stay as they are, without the five calls that it takes: of a small batch they are most. */
function affineOn(
  heap: Heap,
  { scale: gamma, bias, mean, variance }: NormalisationTensors,
  epsilon: number,
): Affine {
  const [scale, shift] = [gamma, gamma].map(({ shape }) => heap.allocate(shape) as tf.Tensor1D);
  const [g, b, m, v, factors, addends] = [gamma, bias, mean, variance, scale, shift].map(heap.values);
  for (let c = 0; c < factors.length; c++) {
    factors[c] = g[c] / Math.sqrt(v[c] + epsilon);
    addends[c] = b[c] - m[c] * factors[c];
  }
  return { scale, shift };
}

// What the column kernels compute of whole tensors (..., channels), taken as matrices (rows, channels).

/** The smallest output of an activation; where it is reached no gradient flows. */
const lowestOf = (activation: Activation) => (activation === 'relu' ? 0 : Number.NEGATIVE_INFINITY);

function matrixShape(x: tf.Tensor): [rows: number, channels: number] {
  const channels = x.shape.at(-1) ?? 1;
  return [x.size / channels, channels];
}

/** Mean and biased variance of each channel: (channels) both. The mean is taken off before squares are summed. */
function columnMoments(heap: Heap, x: tf.Tensor): { mean: tf.Tensor1D; variance: tf.Tensor1D } {
  const [rows, channels] = matrixShape(x);
  const sums = heap.zeros([channels]);
  heap.call('columnSums', heap.address(x), rows, 4 * channels, heap.address(sums));
  const mean = tf.div<tf.Tensor1D>(sums, rows);
  const squares = heap.zeros([channels]);
  heap.call('columnSquares', heap.address(x), heap.address(mean), rows, 4 * channels, heap.address(squares));
  return { mean, variance: tf.div<tf.Tensor1D>(squares, rows) };
}

/** `activation(x scale + shift)`, the shape of x. */
function scaleColumns(heap: Heap, x: tf.Tensor, affine: Affine, activation: Activation): tf.Tensor {
  const [rows, channels] = matrixShape(x);
  const output = heap.allocate(x.shape);
  heap.call(
    'scaleColumns',
    ...[x, affine.scale, affine.shift].map(heap.address),
    rows,
    4 * channels,
    lowestOf(activation),
    heap.address(output),
  );
  return output;
}

/**
 * Sums over the rows, (channels) both: `sums` of the gradient that passes the activation of
 * `activation(x scale + shift)`, and `products` of that gradient and `x - mean`.
 */
function gradientSums(
  heap: Heap,
  dy: tf.Tensor,
  x: tf.Tensor,
  mean: tf.Tensor1D,
  { scale, shift }: Affine,
  activation: Activation,
): { sums: tf.Tensor; products: tf.Tensor } {
  const [rows, channels] = matrixShape(x);
  const sums = heap.zeros([channels]);
  const products = heap.zeros([channels]);
  heap.call(
    'columnGradientSums',
    ...[x, dy, mean, scale, shift].map(heap.address),
    rows,
    4 * channels,
    lowestOf(activation),
    heap.address(sums),
    heap.address(products),
  );
  return { sums, products };
}

/** `a dy + b x + d`, the shape of x, of the gradient that passes the activation; a, b and d are (channels). */
function mixColumns(
  heap: Heap,
  dy: tf.Tensor,
  x: tf.Tensor,
  [a, b, d]: readonly [tf.Tensor, tf.Tensor, tf.Tensor],
  { scale, shift }: Affine,
  activation: Activation,
): tf.Tensor {
  const [rows, channels] = matrixShape(x);
  const output = heap.allocate(x.shape);
  heap.call(
    'mixColumns',
    ...[x, dy, scale, shift, a, b, d].map(heap.address),
    rows,
    4 * channels,
    lowestOf(activation),
    heap.address(output),
  );
  return output;
}
