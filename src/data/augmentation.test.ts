import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createAugmenter } from './augmentation.js';
import { createDegrade } from './degradation.js';

const shape = { height: 5, width: 4, channels: 3 } as const;
const pixels = Uint8Array.from({ length: 60 }, (_, at) => 1 + 4 * at);

function augmented(augmentation: Parameters<typeof createAugmenter>[0], seed: number): Float32Array {
  const out = new Float32Array(62).fill(7);
  createAugmenter(augmentation, shape)(pixels, createRandom(seed), out, 1);
  expect([out[0], out[61]]).toEqual([7, 7]);
  return out.slice(1, -1);
}

test('none scales to 0 to 1', () => {
  expect(augmented({ kind: 'none' }, 1)).toEqual(Float32Array.from(pixels, (value) => value / 255));
});

test('shift moves the whole image by at most the given pixels, with 0 behind, and reaches every place', () => {
  const at = (row: number, column: number, channel: number) =>
    row < 0 || row >= 5 || column < 0 || column >= 4
      ? 0
      : Math.fround(pixels[(row * 4 + column) * 3 + channel] / 255);
  const candidates = new Map<string, Float32Array>();
  for (let down = -2; down <= 2; down++) {
    for (let right = -2; right <= 2; right++) {
      const moved = Float32Array.from({ length: 60 }, (_, index) => {
        const pixel = Math.floor(index / 3);
        return at(Math.floor(pixel / 4) - down, (pixel % 4) - right, index % 3);
      });
      candidates.set(moved.join(), moved);
    }
  }
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const key = augmented({ kind: 'shift', pixels: 2 }, seed).join();
      expect(candidates.has(key)).toBe(true);
      seen.add(key);
    }),
    { numRuns: 400 },
  );
  expect(seen.size).toBe(25);
});

test('a shift farther than the image is wide leaves nothing', () => {
  const blank = Array.from({ length: 20 }, (_, seed) => augmented({ kind: 'shift', pixels: 40 }, seed));
  expect(blank.some((image) => image.every((value) => value === 0))).toBe(true);
});

test('degrade is the degradation of that strength', () => {
  const expected = new Float32Array(60);
  createDegrade(shape, 0.7)(pixels, createRandom(9), expected, 0);
  expect(augmented({ kind: 'degrade', strength: 0.7 }, 9)).toEqual(expected);
});
