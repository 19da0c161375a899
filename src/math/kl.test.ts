import fc from 'fast-check';
import { expect, test } from 'vitest';
import { klDivergence } from './kl.js';
import { softmax } from './softmax.js';

test('known values', () => {
  expect(klDivergence([1, 0], [0.5, 0.5])).toBeCloseTo(Math.LN2, 15);
  expect(klDivergence([0.5, 0.5], [1, 0])).toBe(Number.POSITIVE_INFINITY);
});

test('is cross-entropy minus entropy, never negative, and zero only for equal distributions', () => {
  const pairs = fc.array(
    fc.tuple(fc.double({ min: -5, max: 5, noNaN: true }), fc.integer({ min: -5, max: 5 })),
    {
      minLength: 1,
      maxLength: 12,
    },
  );
  fc.assert(
    fc.property(pairs, (logits) => {
      const p = softmax(logits.map(([logit]) => logit));
      const q = softmax(logits.map(([, logit]) => logit));
      const crossEntropy = -p.reduce((sum, mass, index) => sum + mass * Math.log(q[index]), 0);
      const entropy = -p.reduce((sum, mass) => sum + mass * Math.log(mass), 0);
      expect(klDivergence(p, q)).toBeCloseTo(crossEntropy - entropy, 10);
      expect(klDivergence(p, q)).toBeGreaterThan(-1e-12);
      expect(klDivergence(p, p)).toBe(0);
    }),
  );
});
