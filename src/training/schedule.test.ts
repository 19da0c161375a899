import { expect, test } from 'vitest';
import { learningRateAt } from './schedule.js';

const cosine = { kind: 'cosine', learningRate: 0.1, warmupSteps: 10, totalSteps: 110 } as const;

test('the rate rises linearly, then falls as a cosine to zero', () => {
  expect(learningRateAt(0, cosine)).toBeCloseTo(0.01);
  expect(learningRateAt(9, cosine)).toBeCloseTo(0.1);
  expect(learningRateAt(10, cosine)).toBeCloseTo(0.1);
  expect(learningRateAt(60, cosine)).toBeCloseTo(0.05);
  expect(learningRateAt(110, cosine)).toBeCloseTo(0);
  expect(learningRateAt(500, cosine)).toBeCloseTo(0);
});

test('a constant schedule stays', () => {
  expect(learningRateAt(109, { ...cosine, kind: 'constant' })).toBe(0.1);
});
