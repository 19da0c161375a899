import * as fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { decodeSmallPng, encodeSmallPng } from './png.js';
import type { ImageShape } from './source.js';

const images = fc
  .record({
    height: fc.integer({ min: 1, max: 20 }),
    width: fc.integer({ min: 1, max: 20 }),
    channels: fc.constantFrom<1 | 3>(1, 3),
  })
  .chain((shape: ImageShape) => {
    const length = shape.height * shape.width * shape.channels;
    return fc.record({
      shape: fc.constant(shape),
      pixels: fc.uint8Array({ minLength: length, maxLength: length }),
    });
  });

/** sharp turns grey into colour unless told otherwise. */
const colourSpace = ({ channels }: ImageShape) => (channels === 1 ? 'b-w' : 'srgb');

test('sharp reads what we encode, and we read it back', async () => {
  await fc.assert(
    fc.asyncProperty(images, async ({ shape, pixels }) => {
      const file = encodeSmallPng(pixels, shape);
      const { data, info } = await sharp(file)
        .toColourspace(colourSpace(shape))
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect(info).toMatchObject(shape);
      expect(new Uint8Array(data)).toEqual(pixels);
      expect(decodeSmallPng(file, shape)).toEqual(pixels);
    }),
    { numRuns: 40 },
  );
});

test('a grey image is read as colours as sharp reads it, and colours are not read as grey', async () => {
  await fc.assert(
    fc.asyncProperty(images, async ({ shape, pixels }) => {
      const file = encodeSmallPng(pixels, shape);
      const colours = await sharp(file).toColourspace('srgb').raw().toBuffer();
      expect(decodeSmallPng(file, { ...shape, channels: 3 })).toEqual(new Uint8Array(colours));
      if (shape.channels === 3) expect(decodeSmallPng(file, { ...shape, channels: 1 })).toBeUndefined();
    }),
    { numRuns: 40 },
  );
});

test('every row filter that another encoder chooses is undone', async () => {
  await fc.assert(
    fc.asyncProperty(images, fc.boolean(), async ({ shape, pixels }, adaptiveFiltering) => {
      const file = await sharp(pixels, { raw: shape })
        .toColourspace(colourSpace(shape))
        .png({ adaptiveFiltering, palette: false })
        .toBuffer();
      expect(decodeSmallPng(file, shape)).toEqual(pixels);
    }),
    { numRuns: 40 },
  );
  // A smooth colour image makes libpng use all five filters.
  const shape = { height: 64, width: 64, channels: 3 } as const;
  const smooth = Uint8Array.from(
    { length: 64 * 64 * 3 },
    (_, i) => 128 + 90 * Math.sin(i / 40) * Math.cos(i / 997) + (i % 7),
  );
  const file = await sharp(smooth, { raw: shape }).png({ adaptiveFiltering: true }).toBuffer();
  expect(decodeSmallPng(file, shape)).toEqual(smooth);
});

test('a file cut short or of another kind is left to sharp, never decoded wrongly', async () => {
  const shape = { height: 9, width: 7, channels: 1 } as const;
  const pixels = Uint8Array.from({ length: 63 }, (_, i) => (i * 37) % 256);
  const file = encodeSmallPng(pixels, shape);
  for (let length = 0; length < file.length; length++) {
    expect(decodeSmallPng(file.subarray(0, length), shape)).toBeUndefined();
  }
  expect(decodeSmallPng(file, { ...shape, width: 8 })).toBeUndefined();
  const transparent = await sharp(pixels, { raw: shape }).ensureAlpha(0.5).png().toBuffer();
  expect(decodeSmallPng(transparent, shape)).toBeUndefined();
});

test('damaged bytes are never decoded: each chunk has a checksum', () => {
  const shape = { height: 9, width: 7, channels: 1 } as const;
  const file = encodeSmallPng(
    Uint8Array.from({ length: 63 }, (_, i) => i),
    shape,
  );
  for (let at = 0; at < file.length; at++) {
    const damaged = Uint8Array.from(file);
    damaged[at] ^= 0x11;
    expect(decodeSmallPng(damaged, shape), `byte ${at}`).toBeUndefined();
  }
});
