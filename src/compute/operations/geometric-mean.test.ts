import fc from 'fast-check';
import { expect, test } from 'vitest';
import { operationsOn } from '../../../test/support/operations.js';
import { selectBackend } from '../backend.js';

const { operations } = await selectBackend('wasm');

const terms = fc.array(
  fc.tuple(fc.double({ min: -75, max: 0, noNaN: true }), fc.float({ min: -40, max: 40, noNaN: true })),
  { minLength: 1, maxLength: 23 },
);
const share = fc.double({ min: 0, max: 2, noNaN: true });
const smallest = 1e-30;

test('is the mean that Math.log and Math.exp make', () => {
  const mean = operations.geometricMean(23);
  if (!mean) throw new Error('wasm is not in force');
  fc.assert(
    fc.property(terms, share, share, (list, a, b) => {
      const masses = Float32Array.from(list, ([log]) => Math.exp(log));
      const logits = Float32Array.from(list, ([, logit]) => logit);
      mean.values().set(masses);
      mean.values().set(logits, mean.logitsAt);
      const found = mean.run(list.length, a, b, smallest, b);
      const { sum, total, largestLogit, smallestLogit, exponentials } = found;
      const logs = list.map((_, i) => a * Math.log(Math.max(masses[i], smallest)) + b * logits[i]);
      const largest = Math.max(...logs);
      const expected = logs.map((log) => Math.exp(log - largest));
      const got = mean.values().slice(0, list.length);
      // The exponent is known as well as single precision knows its size.
      expected.forEach((value, i) => {
        expect(Math.abs(got[i] - value)).toBeLessThan(3e-5 * value + 1e-30);
      });
      expect(total).toBeCloseTo(
        expected.reduce((x, y) => x + y, 0),
        3,
      );
      expect(sum).toBeCloseTo(
        masses.reduce((x, y) => x + y, 0),
        5,
      );
      const top = Math.max(...logits);
      const expectedExponentials = logits.reduce((x, logit) => x + Math.exp(b * (logit - top)), 0);
      expect(Math.abs(exponentials / expectedExponentials - 1)).toBeLessThan(3e-5);
      expect(smallestLogit).toBeCloseTo(Math.min(...logits), 5);
      expect(largestLogit).toBeCloseTo(Math.max(...logits), 5);
    }),
    { numRuns: 3000 },
  );
});

test('a logit that is not finite shows, and memory that grows is followed', () => {
  const mean = operations.geometricMean(9);
  if (!mean) throw new Error('wasm is not in force');
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const place of [0, 8]) {
      mean.values().fill(0.1, 0, 9);
      mean.values().fill(1, mean.logitsAt, mean.logitsAt + 9);
      mean.values()[mean.logitsAt + place] = bad;
      expect(mean.run(9, 0.5, 0.5, smallest).sum).toBeNaN();
    }
  }
  const large = operations.tensor(new Float32Array(2 ** 26), [2 ** 26]); // more than the memory has at first
  mean.values().fill(0.25, 0, 4);
  mean.values().fill(1, mean.logitsAt, mean.logitsAt + 4);
  expect(mean.run(4, 0.5, 0.5, smallest)).toMatchObject({ sum: 1, total: 4 });
  large.dispose();
});

test('other backends, and more classes than there is room for, do without', async () => {
  expect(operations.geometricMean(10 ** 6)).toBeUndefined();
  expect((await operationsOn('cpu')).geometricMean(9)).toBeUndefined();
});
