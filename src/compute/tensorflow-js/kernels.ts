import * as tf from '@tensorflow/tfjs';
import type {
  Activation,
  AdamWOptions,
  Conv2dOptions,
  DenseOptions,
  GeometricMean,
  MaxPool2dOptions,
  NormaliseOptions,
  SgdOptions,
} from '../operations.js';
import { groupedDense } from './grouped-dense.js';
import type { TargetRow } from './target-rows.js';

/** What a batch normalisation gives. */
export interface BatchNormalised {
  /** The shape of its input. */
  readonly output: tf.Tensor;
  /** (channels), without gradient. */
  readonly mean: tf.Tensor1D;
  /** (channels), biased (divided by the number of values), without gradient. */
  readonly variance: tf.Tensor1D;
}

/** Four vectors, (channels) each. */
export interface NormalisationTensors {
  readonly scale: tf.Tensor1D;
  readonly bias: tf.Tensor1D;
  readonly mean: tf.Tensor1D;
  readonly variance: tf.Tensor1D;
}

/**
 * The operations of `Operations` for which a backend may have a way of its own: what it does not have is done by
 * TensorFlow.js's. Shapes are checked and options complete when they are called, and the backend is in force.
 */
export interface Kernels {
  read(tensor: tf.Tensor): Promise<Float32Array>;
  areFinite(tensors: readonly tf.Tensor[]): Promise<boolean>;
  rowRange(tensor: tf.Tensor, start: number, count: number): tf.Tensor;
  rowLogSumExps(matrix: tf.Tensor2D): tf.Tensor1D;
  gatherRows(matrix: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D;
  firstLargest(matrix: tf.Tensor2D): Promise<Int32Array>;
  valuesInPlace(matrix: tf.Tensor2D): Float32Array | undefined;
  geometricMean(most: number): GeometricMean | undefined;
  conv2d(x: tf.Tensor4D, filter: tf.Tensor4D, options: Required<Conv2dOptions>): tf.Tensor4D;
  dense(
    x: tf.Tensor2D,
    weights: tf.Tensor2D,
    bias: tf.Tensor1D | undefined,
    options: Required<DenseOptions>,
  ): tf.Tensor2D;
  groupedDense(
    x: tf.Tensor2D,
    weights: tf.Tensor3D,
    bias: tf.Tensor2D,
    counts: Int32Array,
    activation: Activation,
  ): tf.Tensor2D;
  maxPool2d(x: tf.Tensor4D, options: Required<MaxPool2dOptions>): tf.Tensor4D;
  batchNormalise(
    x: tf.Tensor,
    tensors: Pick<NormalisationTensors, 'scale' | 'bias'>,
    options: Required<NormaliseOptions>,
  ): BatchNormalised;
  normalise(x: tf.Tensor, tensors: NormalisationTensors, options: Required<NormaliseOptions>): tf.Tensor;
  softmaxCrossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, labelSmoothing: number): tf.Scalar;
  softTargetCrossEntropy(logits: tf.Tensor2D, targets: readonly TargetRow[]): tf.Scalar;
  adamWStep(
    parameter: tf.Variable,
    gradient: tf.Tensor,
    moments: { readonly first: tf.Variable; readonly second: tf.Variable },
    options: Required<AdamWOptions>,
  ): void;
  sgdStep(
    parameter: tf.Variable,
    gradient: tf.Tensor,
    velocity: tf.Variable,
    options: Required<SgdOptions>,
  ): void;
}

/** TensorFlow.js's own operations and gradients, complete on every backend. */
export const plainKernels: Kernels = {
  async read(tensor) {
    return (await tensor.data<'float32'>()).slice(); // some backends hand out the array that the tensor was made of
  },
  async areFinite(tensors) {
    if (tensors.length === 0) return true;
    const total = tf.tidy(() => tf.addN(tensors.map((tensor) => tf.sum(tensor))));
    const [sum] = await total.data<'float32'>();
    total.dispose();
    return Number.isFinite(sum);
  },
  rowRange: (tensor, start, count) => tf.slice(tensor, [start], [count]),
  rowLogSumExps: (matrix) => tf.logSumExp(matrix, 1),
  gatherRows: (matrix, indices) => tf.gather(matrix, indices),
  async firstLargest(matrix) {
    const columns = tf.argMax(matrix, 1);
    try {
      return (await columns.data<'int32'>()).slice();
    } finally {
      columns.dispose();
    }
  },
  valuesInPlace: () => undefined,
  geometricMean: () => undefined,
  conv2d: (x, filter, { strides, padding }) => tf.conv2d(x, filter, strides, padding),
  dense(x, weights, bias) {
    const product = tf.matMul<tf.Tensor2D>(x, weights);
    return bias ? tf.add<tf.Tensor2D>(product, bias) : product;
  },
  groupedDense,
  maxPool2d: (x, { size, strides, padding }) => tf.maxPool(x, size, strides, padding),
  batchNormalise(x, { scale, bias }, options) {
    const allButLast = Array.from({ length: x.rank - 1 }, (_, axis) => axis);
    const moments = tf.moments(x, allButLast);
    const [mean, variance] = [moments.mean as tf.Tensor1D, moments.variance as tf.Tensor1D];
    const output = plainKernels.normalise(x, { scale, bias, mean, variance }, options);
    return { output, mean: detached(mean), variance: detached(variance) };
  },
  normalise(x, tensors, { epsilon, activation }) {
    const { scale, shift } = affineOf(tensors, epsilon);
    const normalised = tf.add(tf.mul(x, scale), shift);
    return activation === 'relu' ? tf.relu(normalised) : normalised;
  },
  softmaxCrossEntropy(logits, labels, labelSmoothing) {
    const [, classes] = logits.shape;
    const hard = tf.cast(tf.oneHot(labels, classes), 'float32'); // (batch, classes)
    const targets = tf.add(tf.mul(hard, 1 - labelSmoothing), labelSmoothing / classes);
    return tf.losses.softmaxCrossEntropy(targets, logits);
  },
  softTargetCrossEntropy(logits, targets) {
    const [batch, classes] = logits.shape;
    const shares = new Float32Array(batch * classes); // what multiplies each class's log-probability
    const hidden = new Float32Array(batch * classes); // of listed classes, far below where a probability could be seen
    const buckets = new Float32Array(batch);
    for (const [row, { indices, values, weight, rest, kind, unlisted }] of targets.entries()) {
      const at = row * classes;
      if (kind === 'spread' && rest > 0) shares.fill((weight * rest) / unlisted / batch, at, at + classes);
      if (kind === 'bucket') buckets[row] = (weight * rest) / batch;
      for (const [k, index] of indices.entries()) {
        shares[at + index] = (weight * values[k]) / batch;
        hidden[at + index] = farBelow;
      }
    }
    const logs = tf.logSoftmax(logits); // (batch, classes)
    const listed = tf.neg(tf.sum<tf.Scalar>(tf.mul(logs, tf.tensor2d(shares, [batch, classes]))));
    if (buckets.every((mass) => mass === 0)) return listed;
    const unlisted = tf.logSumExp(tf.add(logs, tf.tensor2d(hidden, [batch, classes])), 1); // (batch)
    return tf.sub(listed, tf.sum<tf.Scalar>(tf.mul(unlisted, tf.tensor1d(buckets))));
  },
  adamWStep(parameter, gradient, moments, { learningRate, beta1, beta2, epsilon, weightDecay, step }) {
    const first = tf.add(tf.mul(moments.first, beta1), tf.mul(gradient, 1 - beta1));
    const second = tf.add(tf.mul(moments.second, beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const correction = 1 / Math.sqrt(1 - beta2 ** step);
    const scaled = tf.div(first, tf.add(tf.mul(tf.sqrt(second), correction), epsilon));
    const decayed = weightDecay === 0 ? parameter : tf.mul(parameter, 1 - learningRate * weightDecay);
    moments.first.assign(first);
    moments.second.assign(second);
    parameter.assign(tf.sub(decayed, tf.mul(scaled, learningRate / (1 - beta1 ** step))));
  },
  sgdStep(parameter, gradient, velocity, { learningRate, momentum, weightDecay, nesterov }) {
    const moved = tf.add(tf.mul(velocity, momentum), gradient);
    const direction = nesterov ? tf.add(gradient, tf.mul(moved, momentum)) : moved;
    const decayed = weightDecay === 0 ? parameter : tf.mul(parameter, 1 - learningRate * weightDecay);
    velocity.assign(moved);
    parameter.assign(tf.sub(decayed, tf.mul(direction, learningRate)));
  },
};

const farBelow = -1e9;

/** The same values, through which no gradient flows. */
const detached = <T extends tf.Tensor>(x: T): T =>
  tf.customGrad((x) => ({
    value: tf.clone(x as tf.Tensor),
    gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
  }))(x) as T;

/** Batch normalisation as one affine map: a multiplier and an addend for each channel, (channels) both. */
export function affineOf(
  { scale: gamma, bias, mean, variance }: NormalisationTensors,
  epsilon: number,
): { readonly scale: tf.Tensor1D; readonly shift: tf.Tensor1D } {
  const scale = tf.mul<tf.Tensor1D>(gamma, tf.rsqrt(tf.add(variance, epsilon)));
  return { scale, shift: tf.sub(bias, tf.mul(mean, scale)) };
}
