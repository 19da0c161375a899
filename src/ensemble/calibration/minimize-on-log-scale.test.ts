import fc from 'fast-check';
import { expect, test } from 'vitest';
import { minimizeOnLogScale } from './minimize-on-log-scale.js';

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

test('finds the bottom of any valley, from any start, in few evaluations', () => {
  fc.assert(
    fc.property(
      fc.double({ min: -2, max: 3, noNaN: true }),
      fc.double({ min: 0.2, max: 3, noNaN: true }),
      fc.option(fc.double({ min: 0.11, max: 24, noNaN: true }), { nil: undefined }),
      (bottom, steepness, start) => {
        const { f, calls } = counted((x) => Math.cosh(steepness * (x - bottom)) + 0.3 * (x - bottom) ** 2);
        const { x, value } = minimizeOnLogScale(f, 0.1, 25, {
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

test('a smooth valley takes about seven evaluations, an end of the range not many more', () => {
  const smooth = counted((x) => (x - 0.7) ** 2 + 0.1 * (x - 0.7) ** 3);
  minimizeOnLogScale(smooth.f, 0.2, 5);
  expect(smooth.calls.length).toBeLessThanOrEqual(9);
  const end = counted((x) => -Math.tanh(x));
  expect(minimizeOnLogScale(end.f, 1 / 32, 32, { tolerance: 0.025 }).x).toBeGreaterThan(30);
  expect(end.calls.length).toBeLessThanOrEqual(16);
});

test('a start outside the range is kept unless something beats it', () => {
  expect(minimizeOnLogScale((x) => x, 1 / 64, 1, { start: 0 }).x).toBe(0);
  expect(minimizeOnLogScale((x) => (x - 0.5) ** 2, 1 / 64, 1, { start: 0 }).x).toBeCloseTo(0.5, 1);
});

test('a flat function, and a kink, end the search', () => {
  expect(minimizeOnLogScale(() => 1, 0.1, 10).value).toBe(1);
  expect(minimizeOnLogScale((x) => Math.abs(Math.log(x / 2)), 0.1, 10, { tolerance: 1e-3 }).x).toBeCloseTo(
    2,
    2,
  );
});
