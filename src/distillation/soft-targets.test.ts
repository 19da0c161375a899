import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { logSumExp } from '../math/softmax.js';
import {
  decoupledTargets,
  type SoftTargets,
  standardisedTargets,
  tailSize,
  tailSumAt,
  tailSums,
} from './soft-targets.js';

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

/** Soft targets of a teacher of which some classes are listed. */
function stored(
  rows: readonly Float64Array[],
  isListed: (row: number, label: number) => boolean,
): SoftTargets {
  const listed = rows.map((values, row) => [...values.keys()].filter((label) => isListed(row, label)));
  const offsets = Int32Array.of(0, ...listed.map(({ length }) => length));
  for (let row = 0; row < rows.length; row++) offsets[row + 1] += offsets[row];
  const tails = new Float32Array(rows.length * tailSize);
  for (const [row, values] of rows.entries()) {
    const mask = Uint8Array.from(values, (_, label) => Number(isListed(row, label)));
    tailSums(values, mask, tails.subarray(row * tailSize, (row + 1) * tailSize));
  }
  return {
    rows: rows.length,
    offsets,
    indices: Int32Array.from(listed.flat()),
    logProbabilities: Float32Array.from(
      listed.flatMap((labels, row) => labels.map((label) => rows[row][label])),
    ),
    tails,
  };
}

test('in two parts: the label, and the others among themselves, however sure the teacher is', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 3, max: 60 }),
      fc.double({ min: 0.5, max: 12, noNaN: true }),
      fc.constantFrom(1, 2, 4, 20),
      fc.boolean(),
      (seed, classes, spread, temperature, isFull) => {
        const rows = [0, 1, 2].map((at) => row(seed + at, classes, spread).values);
        const random = createRandom(seed, 'labels');
        const labels = Int32Array.from(rows, () => random.below(classes));
        const targets = stored(rows, (at, label) => isFull || label === labels[at] || label % 3 === 0);
        const { own, others } = decoupledTargets(targets, labels, { temperature, classes });
        for (const [at, values] of rows.entries()) {
          const powers = values.map((v) => Math.exp((v - Math.max(...values)) / temperature));
          const all = powers.reduce((sum, power) => sum + power, 0);
          expect(own[at] / (powers[labels[at]] / all)).toBeCloseTo(1, 2);
          const withoutLabel = powers.reduce(
            (sum, power, label) => sum + (label === labels[at] ? 0 : power),
            0,
          );
          for (let entry = others.offsets[at]; entry < others.offsets[at + 1]; entry++) {
            const label = others.indices[entry];
            const expected = label === labels[at] ? 0 : powers[label] / withoutLabel;
            expect(Math.abs(others.values[entry] - expected)).toBeLessThan(0.01);
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a label that is not stored has an equal share of the tail', () => {
  const values = row(1, 30, 2).values;
  const targets = stored([values], (_, label) => label < 10);
  const { own, others } = decoupledTargets(targets, Int32Array.of(20), { temperature: 1, classes: 30 });
  const tail = values.slice(10).reduce((sum, v) => sum + Math.exp(v), 0);
  expect(own[0]).toBeCloseTo(tail / 20, 5);
  expect([...others.indices]).toEqual([...Array.from({ length: 10 }, (_, label) => label), 20]);
  expect(others.values[10]).toBe(0);
  const left = 1 - others.values.reduce((sum, mass) => sum + mass, 0);
  expect(left).toBeCloseTo((tail * (19 / 20)) / (1 - tail / 20), 5);
});

test('standardised targets do not depend on the scale of the logits', () => {
  const values = row(3, 12, 2).values;
  const all = () => true;
  const [a, b] = [values, values.map((v) => 5 * v)].map((one) => {
    const constant = logSumExp(one);
    return standardisedTargets(stored([one.map((v) => v - constant)], all), { temperature: 2, classes: 12 });
  });
  a.values.forEach((mass, label) => {
    expect(mass).toBeCloseTo(b.values[label], 5);
  });
  expect(a.values.reduce((sum, mass) => sum + mass, 0)).toBeCloseTo(1, 5);
  const mean = values.reduce((sum, v) => sum + v, 0) / 12;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 12);
  expect(Math.log(a.values[4] / a.values[7])).toBeCloseTo((values[4] - values[7]) / (2 * deviation), 4);
});
