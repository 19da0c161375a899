import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { logSumExp } from '../math/softmax.js';
import { tailSize, tailSumAt, tailSums } from './soft-targets.js';

/** Log-probabilities with a long tail, of which every third is listed. */
function row(seed: number, classes: number, spread: number) {
  const random = createRandom(seed);
  const logits = Float64Array.from({ length: classes }, () => spread * random.normal());
  const constant = logSumExp(logits);
  const isListed = Uint8Array.from({ length: classes }, (_, index) => Number(index % 3 === 0));
  return { values: logits.map((value) => value - constant), isListed };
}

test('the sum of a tail is known at every temperature, not only where it was measured', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 4, max: 300 }),
      fc.double({ min: 0.5, max: 4, noNaN: true }),
      fc.double({ min: 1, max: 100, noNaN: true }),
      (seed, classes, spread, temperature) => {
        const { values, isListed } = row(seed, classes, spread);
        const sums = new Float32Array(tailSize);
        tailSums(values, isListed, sums);
        const exact = logSumExp([...values].filter((_, i) => isListed[i] === 0).map((v) => v / temperature));
        expect(Math.abs(tailSumAt(sums, temperature) - exact)).toBeLessThan(0.02);
      },
    ),
  );
});

test.each([1, 1.25, 2, 2.5, 3, 4, 10, 20, 40])(
  'the sum is exact where it was measured: T = %d',
  (temperature) => {
    const { values, isListed } = row(1, 200, 3);
    const sums = new Float32Array(tailSize);
    tailSums(values, isListed, sums);
    const exact = logSumExp([...values].filter((_, i) => isListed[i] === 0).map((v) => v / temperature));
    expect(tailSumAt(sums, temperature)).toBeCloseTo(exact, 5);
  },
);

test('an empty tail has no mass at any temperature', () => {
  const sums = new Float32Array(tailSize);
  tailSums([-1, -2], Uint8Array.of(1, 1), sums);
  for (const temperature of [1, 1.7, 8, 1000])
    expect(tailSumAt(sums, temperature)).toBe(Number.NEGATIVE_INFINITY);
});
