import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom, type Random } from '../core/random.js';
import { createDegrade } from './degradation.js';
import type { ImageShape } from './source.js';

const shape: ImageShape = { height: 28, width: 28, channels: 1 };

/** A cross with a serif, so that no flip or turn leaves it as it is. */
function drawing({ height, width, channels }: ImageShape): Uint8Array {
  return Uint8Array.from({ length: height * width * channels }, (_, at) => {
    const row = Math.floor(at / channels / width) / height;
    const column = (Math.floor(at / channels) % width) / width;
    const inked =
      (Math.abs(row - 0.5) < 0.08 && column > 0.2) || (Math.abs(column - 0.4) < 0.06 && row < 0.8);
    return inked && row > 0.15 && column < 0.85 ? 255 : 0;
  });
}

function degraded(strength: number, seed: number, of: ImageShape = shape): Float32Array {
  const pixels = drawing(of);
  const out = new Float32Array(pixels.length);
  createDegrade(of, strength)(pixels, createRandom('degrade', seed), out, 0);
  return out;
}

/** A stream whose uniform numbers are all 1/2: no displacement, half of every loss. */
const middle: Random = { ...createRandom(0), uniform: () => 0.5, uint32: () => 0x7f7f8080 };

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, at) => sum + (value - b[at]) ** 2, 0) / a.length);
}

test('strength 0 changes nothing', () => {
  expect(degraded(0, 1)).toEqual(Float32Array.from(drawing(shape), (ink) => ink / 255));
});

test('the same stream gives the same picture, whatever was degraded before; another stream another one', () => {
  const pixels = drawing(shape);
  const degrade = createDegrade(shape, 1);
  const out = new Float32Array(2 * pixels.length);
  degrade(pixels, createRandom('other'), out, 0);
  degrade(pixels, createRandom('degrade', 1), out, pixels.length);
  expect(out.subarray(pixels.length)).toEqual(degraded(1, 1));
  expect(out.subarray(0, pixels.length)).not.toEqual(degraded(1, 1));
});

test('values stay in 0 to 1 and neighbours in the output are untouched, for any shape and strength', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }),
      fc.integer({ min: 2, max: 20 }),
      fc.constantFrom<1 | 3>(1, 3),
      fc.double({ min: 0, max: 10, noNaN: true }),
      fc.nat(),
      (height, width, channels, strength, seed) => {
        const pixels = drawing({ height, width, channels });
        const out = new Float32Array(pixels.length + 2).fill(7);
        createDegrade({ height, width, channels }, strength)(pixels, createRandom(seed), out, 1);
        expect([out[0], out[out.length - 1]]).toEqual([7, 7]);
        expect(out.subarray(1, -1).every((value) => value >= 0 && value <= 1)).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});

test('a stronger degradation takes images farther from what they were', () => {
  const clean = degraded(0, 0);
  const meanDistance = (strength: number) =>
    Array.from({ length: 40 }, (_, seed) => distance(degraded(strength, seed), clean)).reduce(
      (a, b) => a + b,
    ) / 40;
  const distances = [0.25, 0.5, 1, 2].map(meanDistance);
  expect(distances).toEqual(distances.toSorted((a, b) => a - b));
  expect(distances[3]).toBeGreaterThan(2 * distances[0]);
});

test('without displacement the middle of the ink stays where it was', () => {
  const centre = (image: Float32Array) => {
    const lowest = Math.min(...image);
    let [mass, x, y] = [0, 0, 0];
    image.forEach((value, at) => {
      mass += value - lowest;
      x += (value - lowest) * (at % 28);
      y += (value - lowest) * Math.floor(at / 28);
    });
    return [x / mass, y / mass];
  };
  const out = new Float32Array(28 * 28);
  createDegrade(shape, 1)(drawing(shape), middle, out, 0);
  const [x, y] = centre(out);
  const [cleanX, cleanY] = centre(degraded(0, 0));
  expect(Math.hypot(x - cleanX, y - cleanY)).toBeLessThan(0.25); // pixels
});

test('colour channels get the same map, and noise of their own', () => {
  const out = degraded(1, 3, { height: 28, width: 28, channels: 3 });
  const channel = (index: number) => out.filter((_, at) => at % 3 === index);
  expect(channel(0)).not.toEqual(channel(1));
  expect(distance(channel(0), channel(1))).toBeLessThan(0.2);
});
