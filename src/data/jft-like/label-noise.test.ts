import { expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import type { ClassTree } from './class-tree.js';
import { annotate, annotatedDistribution } from './label-noise.js';

const noise = { rate: 0.3, siblingShare: 0.75 };
/** Three genera, of 4, 1 and 2 classes. */
const tree: ClassTree = {
  classes: 7,
  families: 2,
  genera: [
    { family: 0, position: 0, start: 0, end: 4 },
    { family: 1, position: 0, start: 4, end: 5 },
    { family: 1, position: 1, start: 5, end: 7 },
  ],
  genusOf: Int32Array.of(0, 0, 0, 0, 1, 2, 2),
  generaIn: Int32Array.of(1, 2),
};

/** The rule spelled out: the probability that class k is annotated as l. */
function transition(k: number, l: number): number {
  const siblings = [...tree.genusOf.keys()].filter((c) => c !== k && tree.genusOf[c] === tree.genusOf[k]);
  if (k === l) return 0.7;
  if (siblings.length === 0) return 0.3 / 6;
  return 0.3 * 0.75 * (siblings.includes(l) ? 1 / siblings.length : 0) + (0.3 * 0.25) / 6;
}

test('the annotated distribution is the class distribution times the transition matrix', () => {
  const random = createRandom(1);
  const raw = Float64Array.from({ length: 7 }, () => random.uniform());
  const probabilities = raw.map((value) => value / raw.reduce((a, b) => a + b, 0));
  const annotated = annotatedDistribution(probabilities, tree, noise);
  for (let l = 0; l < 7; l++) {
    const expected = probabilities.reduce((sum, p, k) => sum + p * transition(k, l), 0);
    expect(annotated[l]).toBeCloseTo(expected, 12);
  }
  expect(annotated.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
});

test('annotators follow the same transition matrix', () => {
  const random = createRandom(2);
  const draws = 20_000;
  for (const k of [0, 4, 6]) {
    const counts = new Float64Array(7);
    for (let draw = 0; draw < draws; draw++) counts[annotate(k, tree, noise, random)]++;
    for (let l = 0; l < 7; l++) {
      const p = transition(k, l);
      expect(Math.abs(counts[l] / draws - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws));
    }
  }
});
