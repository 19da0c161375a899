import { expect, test } from 'vitest';
import { createFuser } from './fusion.js';
import { createRule, shareInside } from './fusion-rules.js';

const generalist = Float64Array.of(0.3, 0.1, 0.4, 0.2);
const specialist = { classes: Int32Array.of(2, 0), probabilities: Float64Array.of(0.1, 0.4, 0.5), weight: 3 };

test('share-inside keeps the mass of the subset and shares it out by weight', () => {
  const q = shareInside(generalist, [specialist]);
  // Q_S = 0.7; the specialist says 0.2 and 0.8 of it.
  [(0.3 + 3 * 0.7 * 0.8) / 4, 0.1, (0.4 + 3 * 0.7 * 0.2) / 4, 0.2].forEach((p, c) => {
    expect(q[c]).toBeCloseTo(p, 14);
  });
});

test('a specialist that says only dustbin changes nothing', () => {
  const silent = { ...specialist, probabilities: Float64Array.of(0, 0, 1) };
  expect(shareInside(generalist, [silent])).toEqual(generalist);
});

test('with a dustbin that agrees with the generalist both rules are one', () => {
  const agreeing = { ...specialist, probabilities: Float64Array.of(0.14, 0.56, 0.3) };
  const paper = createRule('paper', 4)(generalist, [agreeing]);
  expect(paper).toEqual(createFuser(4)(generalist, [agreeing]).probabilities);
  createRule('share-inside', 4)(generalist, [agreeing]).forEach((p, c) => {
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
