import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { operationsOn } from '../../../test/support/operations.js';
import { selectBackend } from '../backend.js';
import type { GeometricMean } from '../operations.js';
import { geometricMeanOnHost } from '../wasm/geometric-mean.js';

const { operations } = await selectBackend('wasm');
const makers = {
  'the memory of the wasm backend': (most: number) => operations.geometricMean(most),
  'memory of its own': geometricMeanOnHost,
};

const terms = fc.array(
  fc.tuple(fc.double({ min: -75, max: 0, noNaN: true }), fc.float({ min: -40, max: 40, noNaN: true })),
  { minLength: 1, maxLength: 23 },
);
const share = fc.double({ min: 0, max: 2, noNaN: true });
const smallest = 1e-30;

describe.each(Object.entries(makers))('in %s', (_, make) => {
  function made(most: number): GeometricMean {
    const mean = make(most);
    if (!mean) throw new Error('Node has SIMD, and the classes are few');
    return mean;
  }

  test('is the mean that Math.log and Math.exp make', () => {
    const mean = made(23);
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

  test('a logit that is not finite shows', () => {
    const mean = made(9);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const place of [0, 8]) {
        mean.values().fill(0.1, 0, 9);
        mean.values().fill(1, mean.logitsAt, mean.logitsAt + 9);
        mean.values()[mean.logitsAt + place] = bad;
        expect(mean.run(9, 0.5, 0.5, smallest).sum).toBeNaN();
      }
    }
  });

  test('it multiplies what it reaches, and tells what that is', () => {
    const mean = made(9);
    const values = mean.values();
    values.set([1, 2, 3, 4, 5]);
    expect([mean.reaches(values), mean.reaches(Float32Array.of(1))]).toEqual([true, false]);
    mean.scale(values.subarray(0, 4), 2);
    expect([...values.subarray(0, 5)]).toEqual([2, 4, 6, 8, 5]);
  });

  test('more classes than there is room for do without', () => {
    expect(make(10 ** 6)).toBeUndefined();
  });
});

test('memory that grows is followed', () => {
  const mean = operations.geometricMean(9);
  if (!mean) throw new Error('wasm is not in force');
  mean.values().fill(0.25, 0, 4);
  const large = operations.tensor(new Float32Array(2 ** 26), [2 ** 26]); // more than the memory has at first
  mean.values().fill(0.25, 0, 4);
  mean.values().fill(1, mean.logitsAt, mean.logitsAt + 4);
  expect(mean.run(4, 0.5, 0.5, smallest)).toMatchObject({ sum: 1, total: 4 });
  large.dispose();
});

test('every backend of ours has it, and what lies on a device is not within its reach', async () => {
  for (const backend of await contractBackends()) {
    const on = await operationsOn(backend);
    const tensor = on.tensor(Float32Array.of(1, 2), [1, 2]);
    const inPlace = on.valuesInPlace(tensor);
    const mean = on.geometricMean(9);
    expect(mean, backend).toBeDefined();
    if (inPlace) expect(mean?.reaches(inPlace), backend).toBe(true);
    expect(mean?.reaches(await on.read(tensor)), backend).toBe(false);
    tensor.dispose();
  }
  expect((await operationsOn('cpu')).geometricMean(9)).toBeUndefined();
});
