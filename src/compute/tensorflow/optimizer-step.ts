import * as tf from '@tensorflow/tfjs';
import { bool, float32, type NativeOperations } from './native-operations.js';
import { updateInPlace } from './update-in-place.js';

/**
 * One step of AdamW by TensorFlow's ResourceApplyAdam.
 *
 * It computes `w -= r m / (sqrt(v) + e)`. With `c = sqrt(1 - b2^step)`, `r = learningRate c / (1 - b1^step)` and
 * `e = c epsilon` this is the step of the paper; both are computed here, in double precision.
 */
export function adamWNative(
  native: NativeOperations,
  parameter: tf.Variable,
  gradient: tf.Tensor,
  moments: { readonly first: tf.Variable; readonly second: tf.Variable },
  {
    learningRate,
    beta1,
    beta2,
    epsilon,
    weightDecay,
    step,
  }: {
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    step: number;
  },
): void {
  tf.tidy(() => {
    decay(parameter, learningRate * weightDecay);
    const correction = Math.sqrt(1 - beta2 ** step);
    const rate = (learningRate * correction) / (1 - beta1 ** step);
    // beta1_power, beta2_power, lr, beta1, beta2, epsilon; with powers of zero the operation corrects nothing.
    const scalars = [0, 0, rate, beta1, beta2, epsilon * correction].map((value) => tf.scalar(value));
    updateInPlace(
      native,
      'ResourceApplyAdam',
      [parameter, moments.first, moments.second],
      [...scalars, gradient],
      [float32, bool('use_locking', false), bool('use_nesterov', false)],
    );
  });
}

/** One step of SGD with momentum by TensorFlow's ResourceApplyMomentum. */
export function sgdNative(
  native: NativeOperations,
  parameter: tf.Variable,
  gradient: tf.Tensor,
  velocity: tf.Variable,
  {
    learningRate,
    momentum,
    weightDecay,
    nesterov,
  }: { learningRate: number; momentum: number; weightDecay: number; nesterov: boolean },
): void {
  tf.tidy(() => {
    decay(parameter, learningRate * weightDecay);
    updateInPlace(
      native,
      'ResourceApplyMomentum',
      [parameter, velocity],
      [tf.scalar(learningRate), gradient, tf.scalar(momentum)],
      [float32, bool('use_locking', false), bool('use_nesterov', nesterov)],
    );
  });
}

/** The share of decoupled weight decay; the steps above do not touch the parameter before they change it. */
function decay(parameter: tf.Variable, share: number): void {
  if (share > 0) parameter.assign(tf.mul(parameter, 1 - share));
}
