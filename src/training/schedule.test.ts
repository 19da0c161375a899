import { expect, test } from 'vitest';
import { lastStepOf, learningRateAt } from './schedule.js';

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

test('under plateau the rate stays, then falls to zero over a quarter of the steps before', () => {
  const plateau = { ...cosine, kind: 'plateau', totalSteps: 1000 } as const;
  expect(lastStepOf(plateau)).toBe(1000);
  expect(learningRateAt(800, plateau)).toBe(0.1);
  expect(learningRateAt(900, plateau)).toBeCloseTo(0.05, 3);
  expect(learningRateAt(999, plateau)).toBeLessThan(0.001);

  const bent = { ...plateau, decayFrom: 100 };
  expect(lastStepOf(bent)).toBe(125);
  expect(learningRateAt(100, bent)).toBe(0.1);
  expect(learningRateAt(112, bent)).toBeCloseTo(0.1 * (1 - 12 / 26));
  expect(learningRateAt(124, bent)).toBeCloseTo(0.1 / 13);
  expect(lastStepOf({ ...plateau, decayFrom: 999 })).toBe(1000); // too late to fall for a quarter
});

test.each([1, 3, 11, 470])('a plateau schedule of %i steps that nothing bends has them all', (totalSteps) => {
  expect(lastStepOf({ ...cosine, kind: 'plateau', totalSteps })).toBe(totalSteps);
});
