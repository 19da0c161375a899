import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createCalibrationError } from './calibration-error.js';

test('who says 0.8 and is right half the time is off by 0.3', () => {
  const error = createCalibrationError();
  expect(error.result()).toBe(0);
  error.add(0.8, true);
  error.add(0.8, false);
  expect(error.result()).toBeCloseTo(0.3, 12);
});

test('errors of opposite signs add up across bins and cancel within one', () => {
  const apart = createCalibrationError(10);
  apart.add(0.25, true); // 0.75 too modest
  apart.add(0.95, false); // 0.95 too bold
  expect(apart.result()).toBeCloseTo((0.75 + 0.95) / 2, 12);
  const together = createCalibrationError(1);
  together.add(0.25, true);
  together.add(0.75, false);
  expect(together.result()).toBeCloseTo(0, 12);
});

test('it is what sorting the answers into bins gives', () => {
  const answer = fc.record({ confidence: fc.double({ min: 0, max: 1, noNaN: true }), right: fc.boolean() });
  fc.assert(
    fc.property(fc.array(answer, { minLength: 1 }), (answers) => {
      const error = createCalibrationError(15);
      for (const { confidence, right } of answers) error.add(confidence, right);
      let expected = 0;
      for (let bin = 0; bin < 15; bin++) {
        const inBin = answers.filter(({ confidence }) => Math.min(14, Math.floor(confidence * 15)) === bin);
        const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
        if (inBin.length === 0) continue;
        const confidence = mean(inBin.map((a) => a.confidence));
        const accuracy = mean(inBin.map((a) => Number(a.right)));
        expected += (inBin.length / answers.length) * Math.abs(confidence - accuracy);
      }
      expect(error.result()).toBeCloseTo(expected, 9);
    }),
  );
});
