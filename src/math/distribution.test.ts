import { expect, test } from 'vitest';
import { areDistributions } from './distribution.js';

test('rows of numbers of 0 or more that sum to 1 are distributions', () => {
  const of = (classes: number, ...values: number[]) =>
    areDistributions(Float32Array.from(values), classes, 1e-3);
  expect(of(2, 0.25, 0.75, 1, 0)).toBe(true);
  expect(of(2, 0.25, 0.75, 1, 0.1)).toBe(false);
  expect(of(2, -0.25, 1.25)).toBe(false);
  expect(of(2, Number.NaN, 1)).toBe(false);
  expect(of(1, 1, 1)).toBe(false);
});
