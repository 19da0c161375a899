import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';

// Every operation and gradient runs on wasm, and TensorFlow.js's own operations and gradients on cpu.

export interface Array32 {
  readonly shape: number[];
  readonly values: Float32Array;
}

export type Operation = (...inputs: tf.Tensor[]) => tf.Tensor;

export function normal(seed: number, shape: number[]): Array32 {
  const random = createRandom(seed, 'operations', ...shape);
  return {
    shape,
    values: Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => random.normal()),
  };
}

/** The output of an operation and its gradients for a given gradient of the output, on a backend. */
export async function run(backend: string, operation: Operation, inputs: readonly Array32[], seed: number) {
  await selectBackend('wasm');
  await tf.setBackend(backend);
  return tf.tidy(() => {
    const tensors = inputs.map(({ values, shape }) => tf.tensor(values, shape));
    const output = operation(...tensors);
    const upstream = normal(seed, output.shape);
    const dy = tf.tensor(upstream.values, upstream.shape);
    const gradients = tf.grads((...arguments_) => operation(...arguments_))(tensors, dy);
    return [output, ...gradients].map((tensor) => ({
      shape: tensor.shape,
      values: tensor.dataSync<'float32'>(),
    }));
  });
}

export async function expectAgreement(
  operation: Operation,
  reference: Operation,
  inputs: readonly Array32[],
  { seed = 1, skipGradients = [] as number[], tolerance = 2e-4 } = {},
): Promise<void> {
  const expected = await run('cpu', reference, inputs, seed);
  const actual = await run('wasm', operation, inputs, seed);
  expected.forEach(({ shape, values }, position) => {
    if (skipGradients.includes(position - 1)) return;
    const got = actual[position];
    const name = position === 0 ? 'output' : `gradient ${position - 1}`;
    expect(got?.shape, name).toEqual(shape);
    const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
    const error = values.reduce((e, value, i) => Math.max(e, Math.abs(value - (got?.values[i] ?? NaN))), 0);
    expect(error / scale, name).toBeLessThan(tolerance);
  });
}

export const size = (max: number, min = 1) => fc.integer({ min, max });
export const runs = { numRuns: 15 };
