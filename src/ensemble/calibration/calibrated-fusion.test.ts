import { expect, test } from 'vitest';
import { softmax } from '../../math/softmax.js';
import { createFuser } from '../rules/paper.js';
import { createCalibratedFuser } from './calibrated-fusion.js';
import type { Calibration } from './calibration.js';

const shown = { examples: 9, gain: 1, standardError: 0.1, top1Gain: 0.1, top1StandardError: 0.1 };
const fit = { negativeLogLikelihood: 1, top1: 0.5, calibrationError: 0.1 };
const calibration: Calibration = {
  rule: 'paper',
  generalistTemperature: 0.8,
  parameters: {},
  specialists: [
    { id: 3, temperature: 2, weight: 4, kept: true, ...shown },
    { id: 5, temperature: 1, weight: 4, kept: false, ...shown },
  ],
  examples: 9,
  generalist: fit,
  uncalibrated: fit,
  ensemble: fit,
  crossFitted: fit,
  others: [],
};
const softened = softmax([2, 0.5, 1], { temperature: 0.8 });
const answer = { classes: Int32Array.of(0, 1), logits: Float64Array.of(-0.5, -0.5, 0) };

test('temperatures and weights are applied, and only kept specialists speak', () => {
  const fuser = createCalibratedFuser(calibration, 3);
  const fuse = createFuser(3);
  const expected = fuse(softened, [
    { classes: answer.classes, probabilities: softmax(answer.logits, { temperature: 2 }), weight: 4 },
  ]).probabilities;
  const q = fuser(softened, [
    { id: 5, ...answer },
    { id: 3, ...answer },
  ]);
  expect(q).toEqual(expected);
  expect(fuser(softened, [{ id: 5, ...answer }])).toEqual(fuse(softened, []).probabilities);
  expect(q).toEqual(expected); // which the next image does not overwrite
});

test('a generalist whose softmax underflows outside the subset is no error', () => {
  const q = createCalibratedFuser(calibration, 3)(Float32Array.of(1, 0, 0), [{ id: 3, ...answer }]);
  expect(q.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
  expect(q[2]).toBeGreaterThan(0.1);
});
