import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { contractBackends } from '../../test/support/contract-backends.js';
import { createRandom } from '../core/random.js';
import { selectBackend } from './backend.js';
import { adamWStep, sgdStep } from './optimizer-step.js';

beforeAll(async () => {
  await selectBackend('wasm');
});

function normal(seed: number, length: number): Float32Array {
  const random = createRandom(seed, length);
  return Float32Array.from({ length }, () => random.normal());
}

function expectClose(actual: ArrayLike<number>, expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, index) => {
    expect(Math.abs((actual[index] ?? Number.NaN) - value)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)));
  });
}

const cases = fc.record({
  backend: fc.constantFrom('cpu' as const, ...(await contractBackends())),
  length: fc.integer({ min: 1, max: 19 }),
  seed: fc.integer({ min: 0, max: 1000 }),
  weightDecay: fc.constantFrom(0, 0.1),
});

test('AdamW follows the formula of the paper, in double precision, over several steps', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ backend, length, seed, weightDecay }) => {
      await selectBackend(backend === 'cpu' ? 'wasm' : backend);
      if (backend === 'cpu') await tf.setBackend('cpu');
      const [learningRate, beta1, beta2, epsilon] = [0.05, 0.9, 0.99, 1e-6];
      const parameter = tf.variable(tf.tensor1d(normal(seed, length)));
      const moments = { first: tf.variable(tf.zeros([length])), second: tf.variable(tf.zeros([length])) };
      const w = [...parameter.dataSync()];
      const m = w.map(() => 0);
      const v = w.map(() => 0);
      for (let step = 1; step <= 4; step++) {
        const g = normal(seed + step, length);
        const gradient = tf.tensor1d(g);
        adamWStep(parameter, gradient, moments, { learningRate, beta1, beta2, epsilon, weightDecay, step });
        g.forEach((value, i) => {
          const first = beta1 * (m[i] ?? 0) + (1 - beta1) * value;
          const second = beta2 * (v[i] ?? 0) + (1 - beta2) * value * value;
          const update = first / (1 - beta1 ** step) / (Math.sqrt(second / (1 - beta2 ** step)) + epsilon);
          [m[i], v[i]] = [first, second];
          w[i] = (w[i] ?? 0) - learningRate * (update + weightDecay * (w[i] ?? 0));
        });
      }
      expectClose(parameter.dataSync(), w);
      expectClose(moments.first.dataSync(), m);
      expectClose(moments.second.dataSync(), v);
      tf.dispose([parameter, moments.first, moments.second]);
    }),
    { numRuns: 20 },
  );
});

test('gradient descent with momentum follows its formula over several steps', async () => {
  await fc.assert(
    fc.asyncProperty(cases, fc.boolean(), async ({ backend, length, seed, weightDecay }, nesterov) => {
      await selectBackend(backend === 'cpu' ? 'wasm' : backend);
      if (backend === 'cpu') await tf.setBackend('cpu');
      const [learningRate, momentum] = [0.1, 0.8];
      const parameter = tf.variable(tf.tensor1d(normal(seed, length)));
      const velocity = tf.variable(tf.zeros([length]));
      const w = [...parameter.dataSync()];
      const u = w.map(() => 0);
      for (let step = 1; step <= 4; step++) {
        const g = normal(seed + step, length);
        sgdStep(parameter, tf.tensor1d(g), velocity, { learningRate, momentum, weightDecay, nesterov });
        g.forEach((value, i) => {
          const moved = momentum * (u[i] ?? 0) + value;
          const direction = nesterov ? value + momentum * moved : moved;
          u[i] = moved;
          w[i] = (w[i] ?? 0) - learningRate * (direction + weightDecay * (w[i] ?? 0));
        });
      }
      expectClose(parameter.dataSync(), w);
      expectClose(velocity.dataSync(), u);
      tf.dispose([parameter, velocity]);
    }),
    { numRuns: 20 },
  );
});

test('a matrix product after a step sees the new parameter', async () => {
  await tf.setBackend('wasm');
  const parameter = tf.variable(
    tf.tensor2d([
      [1, 0],
      [0, 1],
    ]),
  );
  const x = tf.tensor2d([[2, 3]]);
  expect([...tf.matMul(x, parameter as tf.Tensor2D).dataSync()]).toEqual([2, 3]);
  sgdStep(parameter, tf.onesLike(parameter), tf.variable(tf.zerosLike(parameter)), { learningRate: 1 });
  // The parameter is now [[0, -1], [-1, 0]].
  expect([...tf.matMul(x, parameter as tf.Tensor2D).dataSync()]).toEqual([-3, -2]);
});
