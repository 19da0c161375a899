import type { Random } from '../core/random.js';
import { createDegrade } from './degradation.js';
import type { Augmentation, ImageShape } from './source.js';

/** Writes an image, changed at random, into `out` from `offset` on: `(height, width, channels)`, 0 to 1. */
export type Augment = (pixels: Uint8Array, random: Random, out: Float32Array, offset: number) => void;

/**
 * Makes the function that turns a stored training image into what the network sees.
 *
 * @param augmentation `none` copies; `shift` moves by a whole number of pixels, uniform in [-pixels, pixels]
 *   each way, with 0 behind; `degrade` imitates a bad scan (see {@link createDegrade})
 * @param shape of the images
 * @returns a function of one image (height, width, channels), 0 to 255, and the stream that decides: give
 *   each image of each epoch a stream of its own, and every epoch shows it afresh
 */
export function createAugmenter(augmentation: Augmentation, shape: ImageShape): Augment {
  switch (augmentation.kind) {
    case 'none':
      return (pixels, _random, out, offset) => {
        for (let at = 0; at < pixels.length; at++) out[offset + at] = pixels[at] / 255;
      };
    case 'shift':
      return createShift(shape, augmentation.pixels);
    case 'degrade':
      return createDegrade(shape, augmentation.strength);
  }
}

function createShift({ height, width, channels }: ImageShape, reach: number): Augment {
  const rowStep = width * channels;
  return (pixels, random, out, offset) => {
    const down = random.below(2 * reach + 1) - reach;
    const right = random.below(2 * reach + 1) - reach;
    out.fill(0, offset, offset + height * rowStep);
    const firstRow = Math.max(0, down);
    const lastRow = Math.min(height, height + down);
    const firstColumn = Math.max(0, right) * channels;
    const lastColumn = Math.min(width, width + right) * channels;
    for (let row = firstRow; row < lastRow; row++) {
      const from = (row - down) * rowStep - right * channels;
      const to = offset + row * rowStep;
      for (let at = firstColumn; at < lastColumn; at++) out[to + at] = pixels[from + at] / 255;
    }
  };
}
