import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { randomSubset } from './random-subset.js';

test('a subset has the size that was asked for and distinct members in range', () => {
  fc.assert(
    fc.property(fc.nat({ max: 200 }), fc.nat({ max: 200 }), fc.nat(), (a, b, seed) => {
      const [count, universe] = [Math.min(a, b), Math.max(a, b)];
      const subset = randomSubset(count, universe, createRandom(seed).below);
      expect(new Set(subset).size).toBe(count);
      expect(subset.every((member) => member >= 0 && member < universe)).toBe(true);
    }),
  );
});

test('every subset is as likely', () => {
  const draws = 20_000;
  const { below } = createRandom('subsets');
  const seen = new Map<string, number>();
  for (let draw = 0; draw < draws; draw++) {
    const key = randomSubset(3, 6, below).sort().join();
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  expect(seen.size).toBe(20); // 6 choose 3
  const expected = draws / 20;
  const chiSquare = [...seen.values()].reduce((sum, times) => sum + (times - expected) ** 2 / expected, 0);
  expect(chiSquare).toBeLessThan(43.8); // 99.9% of its distribution with 19 degrees of freedom
});
