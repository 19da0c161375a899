import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { gaussianQuantiles } from './gaussian-quantiles.js';

/** The normal distribution function, by Simpson's rule over the density. */
function phi(z: number): number {
  const steps = 2000;
  const width = z / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
    sum += weight * Math.exp(-((i * width) ** 2) / 2);
  }
  return 0.5 + (sum * width) / 3 / Math.sqrt(2 * Math.PI);
}

test('every value is the quantile of its place', () => {
  const quantiles = gaussianQuantiles();
  expect(quantiles.length).toBe(65_536);
  for (const k of [0, 1, 17, 1000, 20_000, 32_767, 32_768, 45_000, 65_000, 65_534, 65_535]) {
    expect(phi(quantiles[k])).toBeCloseTo((k + 0.5) / 65_536, 7);
  }
  expect(quantiles.every((value, k) => k === 0 || value > quantiles[k - 1])).toBe(true);
});

test('the moments are those of the standard normal distribution', () => {
  const moment = (order: number) =>
    gaussianQuantiles().reduce((sum, value) => sum + value ** order, 0) / gaussianQuantiles().length;
  expect(moment(1)).toBeCloseTo(0, 12);
  expect(moment(2)).toBeCloseTo(1, 3);
  expect(moment(4)).toBeCloseTo(3, 1);
});

test('the table is the same to the bit on every machine', () => {
  const quantiles = gaussianQuantiles();
  const bytes = new DataView(new ArrayBuffer(4 * quantiles.length));
  quantiles.forEach((value, k) => {
    bytes.setFloat32(4 * k, value, true);
  });
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(
    '1cfbba1e07e34386a57626f82aeb43e6ed54ba70a3ea6b7d964dc66a841074a8',
  );
});
