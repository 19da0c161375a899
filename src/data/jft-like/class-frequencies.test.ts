import { expect, test } from 'vitest';
import { classFrequencies } from './class-frequencies.js';
import { defaultDifficulty } from './difficulty.js';

test('frequencies are a distribution with a long tail and a floor, at every number of classes', () => {
  for (const classes of [300, 15_000]) {
    const frequencies = classFrequencies(classes, 1, defaultDifficulty);
    const sorted = frequencies.slice().sort().reverse();
    expect(frequencies.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 10);
    expect(sorted[0] * classes).toBeGreaterThan(20); // the most frequent class, against the mean
    expect(sorted[classes / 2] * classes).toBeLessThan(0.5);
    expect(sorted[classes - 1] * classes).toBeGreaterThan(0.2);
  }
});

test('which class is frequent depends on the seed, how frequent classes are does not', () => {
  const [first, second] = [1, 2].map((seed) => classFrequencies(300, seed, defaultDifficulty));
  expect(first).not.toEqual(second);
  expect(first.slice().sort()).toEqual(second.slice().sort());
});
