import { expect, test } from 'vitest';
import { softmax } from '../../math/softmax.js';
import { dustbinCorrection, routedCorrection } from './dustbin.js';
import { softAnswers } from './soft-answers.js';

test('a specialist that says its soft target says, once corrected, what the generalist says', () => {
  const p = [0.1, 0.2, 0.05, 0.4, 0.25];
  const classes = [3, 1];
  const correction = dustbinCorrection({ specialExamples: 30, otherExamples: 970 });
  for (const masses of [undefined, { share: 0.6, meanMass: 0.02, masses: [] }]) {
    const { width, answer } = softAnswers(classes, correction, masses);
    const target = answer(Int32Array.of(4, 3, 2, 1, 0), Float32Array.of(p[4], p[3], p[2], p[1], p[0]), 3);
    expect(target).toHaveLength(width);
    expect(target.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
    const logits = Array.from(target, Math.log);
    logits[2] += correction + (masses ? routedCorrection(0.6, masses) : 0);
    [0.4, 0.2, 0.4].forEach((expected, output) => {
      expect(softmax(logits)[output]).toBeCloseTo(expected, 5);
    });
  }
});
