import { createRandom } from '../../core/random.js';
import type { LabelledImage } from '../source.js';
import type { ClassTree } from './class-tree.js';
import type { Difficulty } from './difficulty.js';
import { gaussianQuantiles } from './gaussian-quantiles.js';
import { annotate } from './label-noise.js';
import type { Templates } from './templates.js';

/** Everything that decides what images look like and how they are labelled. */
export interface Generator {
  readonly seed: number;
  readonly tree: ClassTree;
  readonly templates: Templates;
  /** True distribution of classes. */
  readonly frequencies: Float64Array; // (classes), sums to 1
  /** Probability of a wrong label. */
  readonly labelNoise: number;
  readonly difficulty: Difficulty;
}

/** Grey level of nothing: patterns go both ways from it. */
export const middleLevel = 128;

/**
 * Image `index` of a class, made from (seed, class, index) alone:
 *
 *     pixels = clamp(round(128 + contrast * template(shift) + noise))
 *
 * shift and contrast uniform over their finite sets, noise Gaussian. Its pixels do not depend on the rate of
 * label noise. The same byte for byte on every machine: no function that IEEE 754 leaves open is used.
 *
 * @param label class in [0, classes)
 * @param index which image of that class, whole, not negative; there is no last one
 * @returns pixels (imageSize, imageSize, 1) and the label that an annotator gave
 */
export function drawImage(generator: Generator, label: number, index: number): LabelledImage {
  const { seed, tree, templates, labelNoise, difficulty } = generator;
  const { imageSize, margin, canvasSize, values } = templates;
  const random = createRandom(seed, 'jft-like', 'image', label, index);
  const top = random.below(2 * margin + 1);
  const left = random.below(2 * margin + 1);
  const contrast = difficulty.contrasts[random.below(difficulty.contrasts.length)];

  const quantiles = gaussianQuantiles();
  const pixels = new Uint8Array(imageSize * imageSize);
  const canvas = label * canvasSize * canvasSize;
  let bits = 0;
  for (let y = 0, pixel = 0; y < imageSize; y++) {
    const row = canvas + (y + top) * canvasSize + left;
    for (let x = 0; x < imageSize; x++, pixel++) {
      bits = pixel % 2 === 0 ? random.uint32() : bits << 16; // two samples of 16 bits from each number
      const noise = difficulty.noiseLevels * quantiles[bits >>> 16];
      const level = Math.floor(middleLevel + contrast * values[row + x] + noise + 0.5);
      pixels[pixel] = Math.min(Math.max(level, 0), 255);
    }
  }
  const noise = { rate: labelNoise, siblingShare: difficulty.siblingShare };
  return { pixels, label: annotate(label, tree, noise, random) };
}
