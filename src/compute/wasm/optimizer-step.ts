import type * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';

/** A step of AdamW in one pass over the parameter. */
export const adamWStepOn =
  (heap: Heap): Kernels['adamWStep'] =>
  (parameter, gradient, moments, { learningRate, beta1, beta2, epsilon, weightDecay, step }) => {
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
        1 / Math.sqrt(1 - beta2 ** step),
        epsilon,
        learningRate / (1 - beta1 ** step),
        1 - learningRate * weightDecay,
      ),
    );
  };

/** A step of gradient descent with momentum in one pass over the parameter. */
export const sgdStepOn =
  (heap: Heap): Kernels['sgdStep'] =>
  (parameter, gradient, velocity, { learningRate, momentum, weightDecay, nesterov }) => {
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
  };

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
