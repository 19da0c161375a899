import fc from 'fast-check';
import { expect, test } from 'vitest';
import { logSumExp, softmax } from './softmax.js';

const logits = fc.array(fc.double({ min: -30, max: 30, noNaN: true }), { minLength: 1, maxLength: 20 });

test('softmax equals its definition and sums to 1', () => {
  fc.assert(
    fc.property(logits, fc.double({ min: 0.5, max: 20, noNaN: true }), (values, temperature) => {
      const exps = values.map((value) => Math.exp(value / temperature));
      const sum = exps.reduce((a, b) => a + b, 0);
      const found = softmax(values, { temperature });
      exps.forEach((exp, index) => {
        expect(found[index]).toBeCloseTo(exp / sum, 12);
      });
      expect(found.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    }),
  );
});

test('logSumExp equals its definition and shifts with its values', () => {
  fc.assert(
    fc.property(logits, fc.constantFrom(-2000, 0, 2000), (values, shift) => {
      const expected = Math.log(values.reduce((sum, value) => sum + Math.exp(value), 0)) + shift;
      expect(logSumExp(values.map((value) => value + shift))).toBeCloseTo(expected, 9);
    }),
  );
  expect(logSumExp([])).toBe(Number.NEGATIVE_INFINITY);
  expect(softmax([1e4, Number.NEGATIVE_INFINITY])).toEqual(Float64Array.of(1, 0));
});

test('softmax writes where it is told, also over its own logits', () => {
  const values = Float64Array.of(1, -2, 0.5);
  const expected = softmax(values, { temperature: 3 });
  expect(softmax(values, { temperature: 3, out: values })).toBe(values);
  expect(values).toEqual(expected);
});
