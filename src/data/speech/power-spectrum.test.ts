import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createPowerSpectrum } from './power-spectrum.js';

/** The definition, term by term. */
function slowPower(frame: Float64Array): number[] {
  const { length } = frame;
  return Array.from({ length: length / 2 + 1 }, (_, k) => {
    let real = 0;
    let imaginary = 0;
    for (let n = 0; n < length; n++) {
      real += frame[n] * Math.cos((2 * Math.PI * k * n) / length);
      imaginary -= frame[n] * Math.sin((2 * Math.PI * k * n) / length);
    }
    return real ** 2 + imaginary ** 2;
  });
}

test('the power spectrum is that of the definition', () => {
  const frames = fc
    .integer({ min: 1, max: 7 })
    .chain((bits) =>
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2 ** bits, maxLength: 2 ** bits }),
    );
  fc.assert(
    fc.property(frames, (values) => {
      const frame = Float64Array.from(values);
      const power = new Float64Array(frame.length / 2 + 1);
      createPowerSpectrum(frame.length)(frame, power);
      for (const [k, expected] of slowPower(frame).entries()) expect(power[k]).toBeCloseTo(expected, 8);
    }),
  );
});

test('a sine of k periods has its power at k alone', () => {
  const frame = Float64Array.from({ length: 64 }, (_, n) => Math.sin((2 * Math.PI * 5 * n) / 64));
  const power = new Float64Array(33);
  createPowerSpectrum(64)(frame, power);
  expect(power[5]).toBeCloseTo(1024, 8); // (64 / 2)^2
  expect(power.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1024, 8);
});

test('a size that is no power of two is refused', () => {
  expect(() => createPowerSpectrum(12)).toThrow('12 is not a power of two');
});
