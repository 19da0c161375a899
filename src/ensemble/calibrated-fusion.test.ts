import { expect, test } from 'vitest';
import { createCalibratedFuser } from './calibrated-fusion.js';
import type { Calibration } from './calibration.js';
import { fuse } from './fusion.js';
import { temper } from './temperature.js';

const shown = { examples: 9, gain: 1, standardError: 0.1, top1Gain: 0.1, top1StandardError: 0.1 };
const calibration: Calibration = {
  rule: 'paper',
  generalistTemperature: 0.8,
  specialists: [
    { id: 3, temperature: 2, weight: 4, kept: true, ...shown },
    { id: 5, temperature: 1, weight: 4, kept: false, ...shown },
  ],
  examples: 9,
  generalist: { negativeLogLikelihood: 1, top1: 0.5 },
  ensemble: { negativeLogLikelihood: 1, top1: 0.5 },
};
const generalist = Float64Array.of(0.5, 0.2, 0.3);
const answer = { classes: Int32Array.of(0, 1), probabilities: Float64Array.of(0.3, 0.3, 0.4) };

test('temperatures and weights are applied, and only kept specialists speak', () => {
  const fuser = createCalibratedFuser(calibration, 3);
  const expected = fuse(temper(generalist, 0.8), [
    { ...answer, probabilities: temper(answer.probabilities, 2), weight: 4 },
  ]).probabilities;
  const q = fuser(generalist, [
    { id: 5, ...answer },
    { id: 3, ...answer },
  ]);
  expect(q).toEqual(expected);
  expect(fuser(generalist, [{ id: 5, ...answer }])).toEqual(fuse(temper(generalist, 0.8), []).probabilities);
});

test('a generalist whose softmax underflowed outside the subset is no error', () => {
  const q = createCalibratedFuser(calibration, 3)(Float32Array.of(1, 0, 0), [{ id: 3, ...answer }]);
  expect(q.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
  expect(q[2]).toBeGreaterThan(0.1);
});

test('a temperature divides the logits', () => {
  const logits = [1, -2, 0.5];
  const softmax = (z: number[]) => {
    const sum = z.reduce((total, value) => total + Math.exp(value), 0);
    return Float64Array.from(z, (value) => Math.exp(value) / sum);
  };
  temper(softmax(logits), 3).forEach((p, i) => {
    expect(p).toBeCloseTo(softmax(logits.map((z) => z / 3))[i], 14);
  });
});
