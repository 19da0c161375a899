import * as tf from '@tensorflow/tfjs';
import type { Heap } from './heap.js';

// What the column kernels compute of whole tensors (..., channels), taken as matrices (rows, channels).

export type Activation = 'none' | 'relu';

/** A multiplier and an addend for each channel: (channels) both. */
export interface Affine {
  readonly scale: tf.Tensor1D;
  readonly shift: tf.Tensor1D;
}

/** Batch normalisation as one affine map. */
export function affineOf(
  mean: tf.Tensor1D,
  variance: tf.Tensor1D,
  gamma: tf.Tensor1D,
  beta: tf.Tensor1D,
  epsilon: number,
): Affine {
  const scale = tf.mul<tf.Tensor1D>(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  return { scale, shift: tf.sub(beta, tf.mul(mean, scale)) };
}

/** The smallest output of an activation; where it is reached no gradient flows. */
const lowestOf = (activation: Activation) => (activation === 'relu' ? 0 : Number.NEGATIVE_INFINITY);

function matrixShape(x: tf.Tensor): [rows: number, channels: number] {
  const channels = x.shape.at(-1) ?? 1;
  return [x.size / channels, channels];
}

/** Mean and biased variance of each channel: (channels) both. The mean is taken off before squares are summed. */
export function columnMoments(heap: Heap, x: tf.Tensor): { mean: tf.Tensor1D; variance: tf.Tensor1D } {
  const [rows, channels] = matrixShape(x);
  const sums = heap.zeros([channels]);
  heap.call('columnSums', heap.address(x), rows, 4 * channels, heap.address(sums));
  const mean = tf.div<tf.Tensor1D>(sums, rows);
  const squares = heap.zeros([channels]);
  heap.call('columnSquares', heap.address(x), heap.address(mean), rows, 4 * channels, heap.address(squares));
  return { mean, variance: tf.div<tf.Tensor1D>(squares, rows) };
}

/** `activation(x scale + shift)`, the shape of x. */
export function scaleColumns(heap: Heap, x: tf.Tensor, affine: Affine, activation: Activation): tf.Tensor {
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
export function gradientSums(
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
export function mixColumns(
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
