import fc from 'fast-check';
import { expect, test } from 'vitest';
import { minimize } from './minimize.js';

/** Counts the evaluations of a function of the logarithm. */
function counted(f: (logX: number) => number) {
  const calls: number[] = [];
  return {
    calls,
    f: (x: number) => {
      calls.push(x);
      return f(Math.log(x));
    },
  };
}

test('finds the bottom of any valley, from any start, in few evaluations', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.double({ min: -2, max: 3, noNaN: true }),
      fc.double({ min: 0.2, max: 3, noNaN: true }),
      fc.option(fc.double({ min: 0.11, max: 24, noNaN: true }), { nil: undefined }),
      async (bottom, steepness, start) => {
        const { f, calls } = counted((x) => Math.cosh(steepness * (x - bottom)) + 0.3 * (x - bottom) ** 2);
        const { x, value } = await minimize(f, 0.1, 25, {
          tolerance: 1e-3,
          ...(start !== undefined && { start }),
        });
        expect(Math.abs(Math.log(x) - bottom)).toBeLessThan(4e-3);
        expect(value).toBe(f(x));
        expect(calls.length).toBeLessThan(32);
      },
    ),
  );
});

test('a smooth valley takes about seven evaluations, an end of the range not many more', async () => {
  const smooth = counted((x) => (x - 0.7) ** 2 + 0.1 * (x - 0.7) ** 3);
  await minimize(smooth.f, 0.2, 5);
  expect(smooth.calls.length).toBeLessThanOrEqual(9);
  const end = counted((x) => -Math.tanh(x));
  expect((await minimize(end.f, 1 / 32, 32, { tolerance: 0.025 })).x).toBeGreaterThan(30);
  expect(end.calls.length).toBeLessThanOrEqual(16);
});

test('a start outside the range is kept unless something beats it', async () => {
  expect((await minimize((x) => x, 1 / 64, 1, { start: 0 })).x).toBe(0);
  expect((await minimize((x) => (x - 0.5) ** 2, 1 / 64, 1, { start: 0 })).x).toBeCloseTo(0.5, 1);
});

test('a flat function, and a kink, end the search', async () => {
  expect((await minimize(() => 1, 0.1, 10)).value).toBe(1);
  expect((await minimize((x) => Math.abs(Math.log(x / 2)), 0.1, 10, { tolerance: 1e-3 })).x).toBeCloseTo(
    2,
    2,
  );
});

test('on a linear scale the range may hold 0 and what is below', async () => {
  const { f, calls } = counted((x) => x);
  const { x } = await minimize((v) => f(Math.exp((v + 1.2) ** 2)), -3, 3, { scale: 'linear', start: 0 });
  expect(x).toBeCloseTo(-1.2, 1);
  expect(calls.length).toBeLessThan(15);
});
