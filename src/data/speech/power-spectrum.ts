import { assert } from '../../core/errors.js';

/**
 * Makes a function that computes the power spectrum of a real frame: `|sum_n x_n exp(-2 pi i k n / size)|^2` for
 * k from 0 to size / 2.
 *
 * @param size a power of two from 2
 * @returns a function of a frame (size), which it leaves alone, and of the place for the result (size / 2 + 1)
 * Cost: O(size log size) a frame; the tables are made once.
 * Source: Cooley and Tukey (1965), in place, radix 2, decimation in time.
 */
export function createPowerSpectrum(size: number): (frame: Float64Array, power: Float64Array) => void {
  assert(size >= 2 && Number.isInteger(Math.log2(size)), `${size} is not a power of two`);
  const bits = Math.log2(size);
  const reversed = Int32Array.from({ length: size }, (_, index) => {
    let result = 0;
    for (let bit = 0; bit < bits; bit++) result |= ((index >> bit) & 1) << (bits - 1 - bit);
    return result;
  });
  const cosines = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
  const sines = Float64Array.from({ length: size / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / size));
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);

  return (frame, power) => {
    for (let n = 0; n < size; n++) real[n] = frame[reversed[n]];
    imaginary.fill(0);
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const low = start + k;
          const high = low + half;
          const cosine = cosines[k * step];
          const sine = sines[k * step];
          const turnedReal = real[high] * cosine - imaginary[high] * sine;
          const turnedImaginary = real[high] * sine + imaginary[high] * cosine;
          real[high] = real[low] - turnedReal;
          imaginary[high] = imaginary[low] - turnedImaginary;
          real[low] += turnedReal;
          imaginary[low] += turnedImaginary;
        }
      }
    }
    for (let k = 0; k <= size / 2; k++) power[k] = real[k] ** 2 + imaginary[k] ** 2;
  };
}
