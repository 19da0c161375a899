import fc from 'fast-check';
import { expect, test } from 'vitest';
import { apportion, zipfWeights } from './apportion.js';

test('parts are whole, add up, and differ from their shares by less than one', () => {
  const weights = fc.array(fc.double({ min: 0.001, max: 1000, noNaN: true }), {
    minLength: 1,
    maxLength: 50,
  });
  fc.assert(
    fc.property(weights, fc.nat(100_000), fc.nat(3), (shares, extra, minimum) => {
      const total = extra + minimum * shares.length;
      const parts = apportion(total, shares, { minimum });
      expect(parts.reduce((sum, part) => sum + part, 0)).toBe(total);
      const sum = shares.reduce((a, b) => a + b, 0);
      for (const [k, part] of parts.entries()) {
        expect(Math.abs(part - minimum - (extra * shares[k]) / sum)).toBeLessThan(1 + 1e-6);
      }
    }),
  );
});

test('small equal shares get a one at even distances', () => {
  expect([...apportion(3, [1, 1, 1, 1, 1, 1, 1, 1, 1])]).toEqual([0, 1, 0, 0, 1, 0, 0, 1, 0]);
});

test('weights follow the law of Zipf', () => {
  expect([...zipfWeights(3, 2)]).toEqual([1 / 2, 1 / 3, 1 / 4]);
});
