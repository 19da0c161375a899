import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { operationsOn } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import { selectBackend } from '../backend.js';

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
      const operations = await operationsOn(backend);
      const variable = (values: Float32Array) => operations.variable(values, [length]);
      const [learningRate, beta1, beta2, epsilon] = [0.05, 0.9, 0.99, 1e-6];
      const parameter = variable(normal(seed, length));
      const moments = {
        first: variable(new Float32Array(length)),
        second: variable(new Float32Array(length)),
      };
      const w = [...normal(seed, length)];
      const m = w.map(() => 0);
      const v = w.map(() => 0);
      for (let step = 1; step <= 4; step++) {
        const g = normal(seed + step, length);
        const gradient = operations.tensor(g, [length]);
        operations.adamWStep(parameter, gradient, moments, {
          learningRate,
          beta1,
          beta2,
          epsilon,
          weightDecay,
          step,
        });
        g.forEach((value, i) => {
          const first = beta1 * (m[i] ?? 0) + (1 - beta1) * value;
          const second = beta2 * (v[i] ?? 0) + (1 - beta2) * value * value;
          const update = first / (1 - beta1 ** step) / (Math.sqrt(second / (1 - beta2 ** step)) + epsilon);
          [m[i], v[i]] = [first, second];
          w[i] = (w[i] ?? 0) - learningRate * (update + weightDecay * (w[i] ?? 0));
        });
      }
      expectClose(await operations.read(parameter), w);
      expectClose(await operations.read(moments.first), m);
      expectClose(await operations.read(moments.second), v);
      operations.dispose([parameter, moments.first, moments.second]);
    }),
    { numRuns: 20 },
  );
});

test('gradient descent with momentum follows its formula over several steps', async () => {
  await fc.assert(
    fc.asyncProperty(cases, fc.boolean(), async ({ backend, length, seed, weightDecay }, nesterov) => {
      const operations = await operationsOn(backend);
      const variable = (values: Float32Array) => operations.variable(values, [length]);
      const [learningRate, momentum] = [0.1, 0.8];
      const parameter = variable(normal(seed, length));
      const velocity = variable(new Float32Array(length));
      const w = [...normal(seed, length)];
      const u = w.map(() => 0);
      for (let step = 1; step <= 4; step++) {
        const g = normal(seed + step, length);
        operations.sgdStep(parameter, operations.tensor(g, [length]), velocity, {
          learningRate,
          momentum,
          weightDecay,
          nesterov,
        });
        g.forEach((value, i) => {
          const moved = momentum * (u[i] ?? 0) + value;
          const direction = nesterov ? value + momentum * moved : moved;
          u[i] = moved;
          w[i] = (w[i] ?? 0) - learningRate * (direction + weightDecay * (w[i] ?? 0));
        });
      }
      expectClose(await operations.read(parameter), w);
      expectClose(await operations.read(velocity), u);
      operations.dispose([parameter, velocity]);
    }),
    { numRuns: 20 },
  );
});

test('a matrix product after a step sees the new parameter', async () => {
  const { operations } = await selectBackend('wasm');
  const parameter = operations.variable(Float32Array.of(1, 0, 0, 1), [2, 2]);
  const velocity = operations.variable(new Float32Array(4), [2, 2]);
  const ones = operations.tensor(new Float32Array(4).fill(1), [2, 2]);
  const x = operations.tensor(Float32Array.of(2, 3), [1, 2]);
  expect([...(await operations.read(operations.matMul(x, parameter)))]).toEqual([2, 3]);
  operations.sgdStep(parameter, ones, velocity, { learningRate: 1 });
  // The parameter is now [[0, -1], [-1, 0]].
  expect([...(await operations.read(operations.matMul(x, parameter)))]).toEqual([-3, -2]);
});
