import { expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import { softmax } from '../../math/softmax.js';
import { dustbinCorrection, routedCorrection } from './dustbin.js';

test('half special in training: the log of the true odds', () => {
  expect(dustbinCorrection({ specialExamples: 20, otherExamples: 980 })).toBeCloseTo(Math.log(49), 14);
  expect(
    dustbinCorrection({ specialExamples: 300, otherExamples: 700, sampledSpecialFraction: 0.3 }),
  ).toBeCloseTo(0, 14);
});

test('Bayes: counts of an over-sampled draw, corrected, are the counts of the true draw', () => {
  // A feature x in {0, 1} is seen; the perfect model of the over-sampled draw is its table of frequencies.
  const special = 0.04; // true fraction of special examples
  const seenIfSpecial = 0.9; // P(x = 1 | special)
  const seenIfOther = 0.2;
  const random = createRandom(2, 'bayes');
  const sampled = { special: 0, other: 0 };
  for (let i = 0; i < 400_000; i++) {
    const isSpecial = random.uniform() < 0.5;
    if (random.uniform() < (isSpecial ? seenIfSpecial : seenIfOther))
      sampled[isSpecial ? 'special' : 'other']++;
  }
  const dustbin = sampled.other / (sampled.special + sampled.other);
  const correction = dustbinCorrection({ specialExamples: 4, otherExamples: 96 });
  const [, corrected] = softmax([Math.log(1 - dustbin), Math.log(dustbin) + correction]);
  const exact = ((1 - special) * seenIfOther) / ((1 - special) * seenIfOther + special * seenIfSpecial);
  expect(Math.abs(corrected - exact)).toBeLessThan(0.002);
  expect(Math.abs(dustbin - exact)).toBeGreaterThan(0.5);
});

test('counts that say nothing are refused', () => {
  for (const counts of [
    { specialExamples: 0, otherExamples: 5 },
    { specialExamples: 5, otherExamples: 0 },
    { specialExamples: 5, otherExamples: 5, sampledSpecialFraction: 1 },
  ]) {
    expect(() => dustbinCorrection(counts)).toThrow(expect.objectContaining({ code: 'option-invalid' }));
  }
});

test('outsiders drawn by the mass on the subset: the ideal specialist, corrected, knows the true distribution', () => {
  // A world of three images; joint probabilities of an image and: class a, class b (the subset), any other class.
  const world = [
    { a: 0.02, b: 0.01, others: 0.05, mass: 0.4 },
    { a: 0.01, b: 0.03, others: 0.3, mass: 0.05 },
    { a: 0.001, b: 0.002, others: 0.577, mass: 0.001 },
  ];
  const special = world.reduce((sum, { a, b }) => sum + a + b, 0);
  const outside = world.reduce((sum, { others }) => sum + others, 0);
  const meanMass = world.reduce((sum, { others, mass }) => sum + others * mass, 0) / outside;
  for (const share of [0, 0.5, 0.9, 1]) {
    for (const sampledSpecialFraction of [0.5, 0.3]) {
      const correction = dustbinCorrection({
        specialExamples: special,
        otherExamples: outside,
        sampledSpecialFraction,
      });
      for (const { a, b, others, mass } of world) {
        // How often the training batches show this image with each label; the ideal specialist says so.
        const drawn = (others / outside) * (1 - share + (share * mass) / meanMass);
        const shown = [
          (a / special) * sampledSpecialFraction,
          (b / special) * sampledSpecialFraction,
          drawn * (1 - sampledSpecialFraction),
        ];
        const logits = shown.map(Math.log);
        logits[2] += correction + routedCorrection(mass, { share, meanMass });
        softmax(logits).forEach((p, i) => {
          expect(p).toBeCloseTo([a, b, others][i] / (a + b + others), 9);
        });
      }
    }
  }
  expect(routedCorrection(0, { share: 0, meanMass: 0.1 })).toBeCloseTo(0, 15);
  expect(Number.isFinite(routedCorrection(0, { share: 1, meanMass: 0.1 }))).toBe(true);
});
