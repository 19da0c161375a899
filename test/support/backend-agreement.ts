import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { BackendName } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { contractBackends } from './contract-backends.js';
import { registeredName, type TensorFlowOperations, tensorFlowOn } from './operations.js';

// Every operation and gradient runs on each backend of the contract, and TensorFlow.js's own on cpu.

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
export async function run(
  backend: BackendName | 'cpu',
  operationOn: (on: TensorFlowOperations) => Operation,
  inputs: readonly Array32[],
  seed: number,
) {
  const on = await tensorFlowOn(backend);
  const operation = operationOn(on);
  await tf.setBackend(registeredName(backend));
  const results = tf.tidy(() => {
    const tensors = inputs.map(({ values, shape }) => tf.tensor(values, shape));
    const output = operation(...tensors);
    const upstream = normal(seed, output.shape);
    const dy = tf.tensor(upstream.values, upstream.shape);
    const gradients = tf.grads((...arguments_) => operation(...arguments_))(tensors, dy);
    return [output, ...gradients];
  });
  const read = async (tensor: tf.Tensor) => ({ shape: tensor.shape, values: await on.read(tensor) });
  try {
    return await Promise.all(results.map(read));
  } finally {
    tf.dispose(results);
  }
}

export async function expectAgreement(
  operation: (on: TensorFlowOperations) => Operation,
  reference: Operation,
  inputs: readonly Array32[],
  { seed = 1, skipGradients = [] as number[], tolerance = 2e-4 } = {},
): Promise<void> {
  const expected = await run('cpu', () => reference, inputs, seed);
  for (const backend of await contractBackends()) {
    const actual = await run(backend, operation, inputs, seed);
    compare(backend, actual, expected, { skipGradients, tolerance });
  }
}

function compare(
  backend: string,
  actual: readonly Array32[],
  expected: readonly Array32[],
  { skipGradients, tolerance }: { skipGradients: readonly number[]; tolerance: number },
): void {
  expected.forEach(({ shape, values }, position) => {
    if (skipGradients.includes(position - 1)) return;
    const got = actual[position];
    const name = `${position === 0 ? 'output' : `gradient ${position - 1}`} on ${backend}`;
    expect(got?.shape, name).toEqual(shape);
    const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
    const error = values.reduce((e, value, i) => Math.max(e, Math.abs(value - (got?.values[i] ?? NaN))), 0);
    expect(error / scale, name).toBeLessThan(tolerance);
  });
}

export const size = (max: number, min = 1) => fc.integer({ min, max });
export const runs = { numRuns: 15 };
