import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import { drawCandidates } from './candidates.js';

test('every label is a candidate, no class is one twice, and positions point at labels', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (classes, size, seed) => {
      const random = createRandom(seed);
      const labels = Int32Array.from({ length: 1 + (size % 40) }, () => random.below(classes));
      const certain = new Set(labels).size;
      const count = certain === classes ? classes : certain + 1 + random.below(classes - certain);
      const drawn = drawCandidates(labels, { classes, count, random });
      expect(drawn.certain).toBe(certain);
      expect(new Set(drawn.classes).size).toBe(count);
      expect(drawn.classes.every((candidate) => candidate >= 0 && candidate < classes)).toBe(true);
      expect(drawn.positions.map((position) => drawn.classes[position])).toEqual(labels);
      expect(drawn.inclusion).toBeLessThanOrEqual(1);
      if (count === classes) expect(drawn.inclusion).toBe(1);
    }),
  );
});

test('every other class comes up as often as the inclusion probability says', () => {
  const draws = 20_000;
  const labels = Int32Array.of(2, 5, 2);
  const times = new Float64Array(9);
  const random = createRandom('candidates');
  let inclusion = 0;
  for (let draw = 0; draw < draws; draw++) {
    const drawn = drawCandidates(labels, { classes: 9, count: 5, random });
    ({ inclusion } = drawn);
    for (const candidate of drawn.classes) times[candidate]++;
  }
  expect(inclusion).toBeCloseTo(3 / 7);
  times.forEach((seen, label) => {
    const expected = label === 2 || label === 5 ? 1 : inclusion;
    expect(Math.abs(seen / draws - expected)).toBeLessThan(4 * Math.sqrt(0.25 / draws));
  });
});
