import fc from 'fast-check';
import { expect, test } from 'vitest';
import { softmax } from '../../math/softmax.js';
import { fusionRule, fusionRules } from './index.js';
import { createFuser } from './paper.js';

const shareInside = fusionRule('share-inside').create(4);

const generalist = Float64Array.of(0.3, 0.1, 0.4, 0.2);
const specialist = { classes: Int32Array.of(2, 0), probabilities: Float64Array.of(0.1, 0.4, 0.5), weight: 3 };

test('share-inside keeps the mass of the subset and shares it out by weight', () => {
  const q = shareInside(generalist, [specialist]);
  // Q_S = 0.7; the specialist says 0.2 and 0.8 of it.
  [(0.3 + 3 * 0.7 * 0.8) / 4, 0.1, (0.4 + 3 * 0.7 * 0.2) / 4, 0.2].forEach((p, c) => {
    expect(q[c]).toBeCloseTo(p, 14);
  });
});

test('a shift raises the odds of the subset, and leaves proportions inside and outside as they are', () => {
  const shifted = shareInside(generalist, [{ ...specialist, parameters: { massShift: Math.log(2) } }]);
  const plain = shareInside(generalist, [specialist]);
  // Odds of 0.7 to 0.3, doubled.
  expect(shifted[0] + shifted[2]).toBeCloseTo(1.4 / 1.7, 14);
  expect(shifted[0] / shifted[2]).toBeCloseTo(plain[0] / plain[2], 14);
  expect(shifted[1] / shifted[3]).toBeCloseTo(0.5, 14);
});

const positiveDistribution = (length: number) =>
  fc
    .array(fc.double({ min: -6, max: 6, noNaN: true }), { minLength: length, maxLength: length })
    .map((logits) => Float64Array.from(softmax(Float64Array.from(logits))));
const weights = fc.double({ min: 0.01, max: 100, noNaN: true });
const shifts = fc.double({ min: -4, max: 4, noNaN: true });

test('share-inside: no class outside changes without a shift, and each loses as the shift rises', () => {
  fc.assert(
    fc.property(
      positiveDistribution(6),
      positiveDistribution(4),
      weights,
      fc.tuple(shifts, shifts),
      (p, predicted, weight, both) => {
        const classes = Int32Array.of(4, 1, 2);
        const outside = [0, 3, 5];
        const [low, high] = [...both].sort((a, b) => a - b);
        const at = (massShift: number) =>
          fusionRule('share-inside').create(6)(p, [
            { classes, probabilities: predicted, weight, parameters: { massShift } },
          ]);
        const [plain, lower, higher] = [at(0), at(low), at(high)];
        for (const c of outside) {
          expect(plain[c]).toBeCloseTo(p[c], 14);
          expect(higher[c]).toBeLessThanOrEqual(lower[c] + 1e-15);
        }
        for (const c of classes) expect(higher[c]).toBeGreaterThanOrEqual(lower[c] - 1e-15);
        // Which class of the subset comes before which other does not depend on the shift.
        for (const c of classes)
          for (const other of classes)
            if (Math.abs(plain[c] - plain[other]) > 1e-12)
              expect(higher[c] > higher[other]).toBe(plain[c] > plain[other]);
      },
    ),
    { numRuns: 500 },
  );
});

test('share-inside: the order of specialists that share no class makes no difference, shifted or not', () => {
  fc.assert(
    fc.property(
      positiveDistribution(6),
      fc.tuple(positiveDistribution(3), positiveDistribution(4)),
      fc.tuple(shifts, shifts),
      (p, [a, b], [shiftA, shiftB]) => {
        const both = [
          { classes: Int32Array.of(0, 3), probabilities: a, parameters: { massShift: shiftA } },
          { classes: Int32Array.of(1, 2, 5), probabilities: b, parameters: { massShift: shiftB } },
        ];
        const fuse = fusionRule('share-inside').create(6);
        const other = fuse(p, both.toReversed());
        fuse(p, both).forEach((q, c) => {
          expect(q).toBeCloseTo(other[c], 12);
        });
      },
    ),
  );
});

test('a specialist that says only dustbin changes nothing', () => {
  const silent = { ...specialist, probabilities: Float64Array.of(0, 0, 1) };
  expect(shareInside(generalist, [silent])).toEqual(generalist);
});

test('with a dustbin that agrees with the generalist both rules are one', () => {
  const agreeing = { ...specialist, probabilities: Float64Array.of(0.14, 0.56, 0.3) };
  const paper = fusionRule('paper').create(4)(generalist, [agreeing]);
  expect(paper).toEqual(createFuser(4)(generalist, [agreeing]).probabilities);
  shareInside(generalist, [agreeing]).forEach((p, c) => {
    expect(p).toBeCloseTo(paper[c], 12);
  });
});

test('specialists that overlap take turns', () => {
  const other = { classes: Int32Array.of(1, 2), probabilities: Float64Array.of(0.2, 0.6, 0.2) };
  const out = new Float64Array(4);
  expect(shareInside(generalist, [specialist, other], { out })).toBe(out);
  expect(out).toEqual(shareInside(shareInside(generalist, [specialist]), [other]));
});

test('bad input is refused', () => {
  const wrong = { ...specialist, probabilities: Float64Array.of(0.1, 0.9) };
  const outside = { ...specialist, classes: Int32Array.of(2, 4) };
  for (const bad of [wrong, outside]) {
    expect(() => shareInside(generalist, [bad])).toThrow(expect.objectContaining({ code: 'fusion-input' }));
  }
});

test('combine multiplies inside and keeps the mass of the subset without trust', () => {
  const combine = fusionRule('combine').create(4);
  const q = combine(generalist, [specialist]);
  // Weight 3: three quarters of the logarithm is the specialist's.
  const raw = [0.3 ** 0.25 * 0.4 ** 0.75, 0.4 ** 0.25 * 0.1 ** 0.75];
  const sum = raw[0] + raw[1];
  [(0.7 * raw[0]) / sum, 0.1, (0.7 * raw[1]) / sum, 0.2].forEach((p, c) => {
    expect(q[c]).toBeCloseTo(p, 12);
  });
  expect(combine(generalist, [{ ...specialist, probabilities: Float64Array.of(0, 0, 1) }])).toEqual(
    generalist,
  );
});

test('combine moves mass by the dustbin as far as it is trusted', () => {
  const combine = fusionRule('combine').create(4);
  const inside = (dustbinTrust: number) => {
    const q = combine(generalist, [specialist], { parameters: { dustbinTrust } });
    expect(q[1] / q[3]).toBeCloseTo(0.5, 12); // outside, proportions stay
    expect(q.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    return q[0] + q[2];
  };
  expect(inside(0)).toBeCloseTo(0.7, 12);
  expect(inside(1)).toBeCloseTo(0.5, 12);
  // Half way between log-odds log(7/3) and 0.
  expect(inside(0.5)).toBeCloseTo(1 / (1 + Math.sqrt(3 / 7)), 12);
});

test('every rule returns a distribution, whatever is said', () => {
  const masses = (length: number) =>
    fc
      .array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: length, maxLength: length })
      .map((values) => {
        const sum = values.reduce((a, b) => a + b, 1e-9);
        return Float64Array.from(values, (value) => (value + 1e-9 / length) / sum);
      });
  const weight = fc.double({ min: 0.01, max: 100, noNaN: true });
  fc.assert(
    fc.property(
      masses(5),
      masses(3),
      masses(4),
      weight,
      fc.constantFrom(...fusionRules),
      (g, a, b, w, rule) => {
        const specialists = [
          { classes: Int32Array.of(3, 0), probabilities: a, weight: w },
          { classes: Int32Array.of(1, 2, 3), probabilities: b },
        ];
        const q = rule.create(5)(g, specialists, { parameters: { dustbinTrust: 0.5 } });
        expect(q.every((p) => p >= 0 && p <= 1 + 1e-9)).toBe(true);
        expect(q.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 6);
      },
    ),
  );
});
