import type * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Bound, Gpu, Kernel } from './gpu.js';

const adamW: Kernel = {
  name: 'adamW',
  tensors: { gradient: 'read', parameter: 'write', first: 'write', second: 'write' },
  numbers: {
    ...{ size: 'u32', beta1: 'f32', beta2: 'f32', rest1: 'f32', rest2: 'f32' },
    ...{ correction: 'f32', epsilon: 'f32', rate: 'f32', keep: 'f32' },
  },
  body: `
    if (at >= p.size) { return; }
    let g = gradient[at];
    let m = p.beta1 * first[at] + p.rest1 * g;
    let v = p.beta2 * second[at] + p.rest2 * g * g;
    first[at] = m;
    second[at] = v;
    parameter[at] = p.keep * parameter[at] - p.rate * m / (p.correction * sqrt(v) + p.epsilon);`,
};

/** A step of AdamW in one pass over the parameter. */
export const adamWStepOn =
  (gpu: Gpu): Kernels['adamWStep'] =>
  (parameter, gradient, { first, second }, { learningRate, beta1, beta2, epsilon, weightDecay, step }) => {
    for (const variable of [parameter, first, second]) gpu.own(variable);
    inWindows(gpu, { gradient, parameter, first, second }, (tensors, size) => {
      const numbers = {
        ...{ size, beta1, beta2, rest1: 1 - beta1, rest2: 1 - beta2, epsilon },
        correction: 1 / Math.sqrt(1 - beta2 ** step),
        rate: learningRate / (1 - beta1 ** step),
        keep: 1 - learningRate * weightDecay,
      };
      gpu.run(adamW, tensors, numbers, [Math.ceil(size / 256)]);
    });
  };

const sgd: Kernel = {
  name: 'sgd',
  tensors: { gradient: 'read', parameter: 'write', velocity: 'write' },
  numbers: { size: 'u32', momentum: 'f32', ofGradient: 'f32', ofVelocity: 'f32', keep: 'f32' },
  body: `
    if (at >= p.size) { return; }
    let g = gradient[at];
    let u = p.momentum * velocity[at] + g;
    velocity[at] = u;
    parameter[at] = p.keep * parameter[at] - p.ofGradient * g - p.ofVelocity * u;`,
};

/** A step of gradient descent with momentum in one pass over the parameter. */
export const sgdStepOn =
  (gpu: Gpu): Kernels['sgdStep'] =>
  (parameter, gradient, velocity, { learningRate, momentum, weightDecay, nesterov }) => {
    for (const variable of [parameter, velocity]) gpu.own(variable);
    inWindows(gpu, { gradient, parameter, velocity }, (tensors, size) => {
      const numbers = {
        size,
        momentum,
        ofGradient: nesterov ? learningRate : 0,
        ofVelocity: learningRate * (nesterov ? momentum : 1),
        keep: 1 - learningRate * weightDecay,
      };
      gpu.run(sgd, tensors, numbers, [Math.ceil(size / 256)]);
    });
  };

/** Goes over tensors of one size, as much at a time as bindings reach. */
export function inWindows<Name extends string>(
  gpu: Gpu,
  tensors: Readonly<Record<Name, tf.Tensor>>,
  visit: (windows: Readonly<Record<Name, Bound>>, size: number) => void,
): void {
  const entries = Object.entries<tf.Tensor>(tensors);
  const [[, { size }]] = entries;
  for (let start = 0; start < size; start += gpu.bindable) {
    const count = Math.min(gpu.bindable, size - start);
    const windows = entries.map(([name, tensor]) => [name, { tensor, start, count }]);
    visit(Object.fromEntries(windows) as Record<Name, Bound>, count);
  }
}
