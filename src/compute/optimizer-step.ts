import * as tf from '@tensorflow/tfjs';
import { assertShape } from './tensor-shape.js';
import { nativeOperations } from './tensorflow/native-operations.js';
import { adamWNative, sgdNative } from './tensorflow/optimizer-step.js';
import { type Heap, wasmHeap } from './wasm/heap.js';

export interface AdamWOptions {
  /** Step size, above 0. */
  readonly learningRate: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Share of the parameter, times the learning rate, that is taken off at each step. */
  readonly weightDecay?: number;
  /** Number of this step, from 1. */
  readonly step: number;
}

/** The running means of the gradient and of its square, both of the parameter's shape, zero at first. */
export interface AdamMoments {
  readonly first: tf.Variable;
  readonly second: tf.Variable;
}

/**
 * One step of Adam with decoupled weight decay, in place.
 *
 * `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
 * `w = w - learningRate (m' / (sqrt(v') + epsilon) + weightDecay w)`, with `m' = m / (1 - b1^step)` and
 * `v' = v / (1 - b2^step)`.
 *
 * @param parameter any shape; gets a new value
 * @param gradient the parameter's shape
 * @param moments the parameter's shape; get new values
 * @throws Error when the shapes do not agree
 * @see Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 2
 */
export function adamWStep(
  parameter: tf.Variable,
  gradient: tf.Tensor,
  moments: AdamMoments,
  { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, step }: AdamWOptions,
): void {
  for (const [name, tensor] of Object.entries({ parameter, gradient, ...moments })) {
    assertShape(`adamWStep: ${name}`, tensor, parameter.shape);
  }
  const stepSize = learningRate / (1 - beta1 ** step);
  const correction = 1 / Math.sqrt(1 - beta2 ** step);
  const heap = wasmHeap();
  if (heap) {
    heap.own(moments.first);
    heap.own(moments.second);
    replace(heap, parameter, (output) =>
      heap.call(
        'adamW',
        ...[parameter, gradient, moments.first, moments.second, output].map(heap.address),
        4 * parameter.size,
        beta1,
        beta2,
        1 - beta1,
        1 - beta2,
        correction,
        epsilon,
        stepSize,
        1 - learningRate * weightDecay,
      ),
    );
    return;
  }
  const native = nativeOperations();
  if (native) {
    const options = { learningRate, beta1, beta2, epsilon, weightDecay, step };
    adamWNative(native, parameter, gradient, moments, options);
    return;
  }
  tf.tidy(() => {
    const first = tf.add(tf.mul(moments.first, beta1), tf.mul(gradient, 1 - beta1));
    const second = tf.add(tf.mul(moments.second, beta2), tf.mul(tf.square(gradient), 1 - beta2));
    const scaled = tf.div(first, tf.add(tf.mul(tf.sqrt(second), correction), epsilon));
    const decayed = weightDecay === 0 ? parameter : tf.mul(parameter, 1 - learningRate * weightDecay);
    moments.first.assign(first);
    moments.second.assign(second);
    parameter.assign(tf.sub(decayed, tf.mul(scaled, stepSize)));
  });
}

export interface SgdOptions {
  /** Step size, above 0. */
  readonly learningRate: number;
  /** Share of the velocity that lives on, in [0, 1). */
  readonly momentum?: number;
  /** Share of the parameter, times the learning rate, that is taken off at each step. */
  readonly weightDecay?: number;
  /** Whether to look ahead along the velocity (Nesterov). */
  readonly nesterov?: boolean;
}

/**
 * One step of stochastic gradient descent with momentum and decoupled weight decay, in place.
 *
 * `u = momentum u + g`, `w = w - learningRate (d + weightDecay w)`, where `d` is `u`, or `g + momentum u` with
 * Nesterov's look-ahead.
 *
 * @param parameter any shape; gets a new value
 * @param gradient the parameter's shape
 * @param velocity the parameter's shape, zero at first; gets a new value
 * @throws Error when the shapes do not agree
 * @see Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013
 */
export function sgdStep(
  parameter: tf.Variable,
  gradient: tf.Tensor,
  velocity: tf.Variable,
  { learningRate, momentum = 0.9, weightDecay = 0, nesterov = false }: SgdOptions,
): void {
  for (const [name, tensor] of Object.entries({ parameter, gradient, velocity })) {
    assertShape(`sgdStep: ${name}`, tensor, parameter.shape);
  }
  const heap = wasmHeap();
  if (heap) {
    heap.own(velocity);
    replace(heap, parameter, (output) =>
      heap.call(
        'sgd',
        ...[parameter, gradient, velocity, output].map(heap.address),
        4 * parameter.size,
        momentum,
        nesterov ? learningRate : 0,
        learningRate * (nesterov ? momentum : 1),
        1 - learningRate * weightDecay,
      ),
    );
    return;
  }
  const native = nativeOperations();
  if (native) {
    sgdNative(native, parameter, gradient, velocity, { learningRate, momentum, weightDecay, nesterov });
    return;
  }
  tf.tidy(() => {
    const moved = tf.add(tf.mul(velocity, momentum), gradient);
    const direction = nesterov ? tf.add(gradient, tf.mul(moved, momentum)) : moved;
    const decayed = weightDecay === 0 ? parameter : tf.mul(parameter, 1 - learningRate * weightDecay);
    velocity.assign(moved);
    parameter.assign(tf.sub(decayed, tf.mul(direction, learningRate)));
  });
}

/**
 * Gives a parameter a new value in new memory. The moments, once they own theirs, change where they lie; a parameter must not:
 * the wasm backend keeps a packed copy of each matrix that it multiplied by, under the name of its memory.
 */
function replace(heap: Heap, parameter: tf.Variable, write: (output: tf.Tensor) => void): void {
  const output = heap.allocate(parameter.shape);
  write(output);
  parameter.assign(output);
  output.dispose();
}
