import { expect, test } from 'vitest';
import { createLikelihoodFit } from './likelihood.js';

test('the mean surprise of the labels, and how far confidence is from accuracy', () => {
  const fit = createLikelihoodFit();
  fit.add(0, [0.5, 0.25, 0.25]);
  fit.add(1, [0.5, 0.25, 0.25]);
  const { negativeLogLikelihood, calibrationError, standardError } = fit.result();
  expect(negativeLogLikelihood).toBeCloseTo((Math.log(2) + Math.log(4)) / 2, 12);
  expect(standardError).toBeCloseTo(Math.log(2) / 2 / Math.SQRT2, 12);
  expect(calibrationError).toBeCloseTo(0, 12);
  fit.add(1, [1, 0, 0]); // impossible, but not infinite
  expect(fit.result().negativeLogLikelihood).toBeLessThan(15);
});
