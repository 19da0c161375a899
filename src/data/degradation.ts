import type { Random } from '../core/random.js';
import type { ImageShape } from './source.js';

/**
 * What strength 1 means. Every amount grows in proportion to the strength, 0 being an unchanged image.
 *
 * Set so that a small network (convolutions of 24, 48 and 96 filters, 15 epochs, 500 Han characters of 20 x 20
 * pixels) has 55.8% top-1 on designs that training never saw; one that is trained longer has more. A stroke
 * that tells two characters apart must be lost now and then, whole characters must not be.
 */
const atStrengthOne = {
  /** Displacement to each side, as part of the image's side: a character cut out by an imprecise segmentation. */
  shift: 0.05,
  /** Rotation to each side, in degrees: a page that lies askew. */
  rotationDegrees: 4.5,
  /** Shear to each side: a page that is bent, or a hand that slants. */
  shear: 0.09,
  /** Relative change of width and of height, each by itself: uneven feed, designs of other proportions. */
  scale: 0.09,
  /** Greatest part of the resolution that is lost (of the pixels along a side): a coarse scan, scaled up. */
  resolutionLoss: 0.45,
  /** Greatest weight of each neighbour in a (w, 1 - 2w, w) blur at the low resolution: optics out of focus. */
  blur: 0.18,
  /** Greatest standard deviation of the noise, as part of the full range: sensor and paper. */
  noise: 0.1,
  /** Greatest part of the contrast that is lost: faded ink on yellowed paper. */
  contrastLoss: 0.4,
} as const;

/** Whatever the strength: at least this part of the resolution and of the contrast is left. */
const leastRemaining = 0.15;

/** Writes a degraded image, 0 to 1, into `out` from `offset` on. */
export type Degrade = (pixels: Uint8Array, random: Random, out: Float32Array, offset: number) => void;

/**
 * Makes the seeded imitation of a bad scan of dark ink on white paper: affine jitter, low resolution, blur, contrast, noise.
 *
 *     low  = resample(affine(1 - image)) to (r h, r w);  low *= blur;  out = clamp(c * up(low) + b + n)
 *
 * The amounts are drawn for each image, uniformly between none and the one that the strength allows.
 * One resampling does the affine map and the loss of resolution together; what lies outside the image is white.
 *
 * @param shape of the images; each channel is degraded by the same map, with noise of its own
 * @param strength 0 leaves images unchanged; 1 is {@link atStrengthOne}; at least 0
 * @returns a function of an image (height, width, channels), 0 to 255, that owns its scratch memory: do not
 *   call it from within itself
 *
 * Cost: under 40 microseconds for an image of 28 x 28 pixels on a busy core, and no allocation.
 */
export function createDegrade(shape: ImageShape, strength: number): Degrade {
  const { height, width, channels } = shape;
  const low = new Float32Array(height * width); // (lowHeight, lowWidth) of one channel
  const blurred = new Float32Array(height * width);
  const left = new Int32Array(width); // column of the low image left of each column
  const leftWeight = new Float32Array(width);

  const around = (random: Random, amount: number) => (2 * random.uniform() - 1) * amount * strength;
  const upTo = (random: Random, amount: number) => random.uniform() * amount * strength;

  return (pixels, random, out, offset) => {
    if (strength === 0) {
      for (let at = 0; at < pixels.length; at++) out[offset + at] = pixels[at] / 255;
      return;
    }
    const shiftX = around(random, atStrengthOne.shift) * width;
    const shiftY = around(random, atStrengthOne.shift) * height;
    const angle = (around(random, atStrengthOne.rotationDegrees) * Math.PI) / 180;
    const shear = around(random, atStrengthOne.shear);
    const scaleX = Math.exp(around(random, atStrengthOne.scale));
    const scaleY = Math.exp(around(random, atStrengthOne.scale));
    const resolution = Math.max(leastRemaining, 1 - upTo(random, atStrengthOne.resolutionLoss));
    const blur = Math.min(1 / 3, upTo(random, atStrengthOne.blur));
    const noise = upTo(random, atStrengthOne.noise);
    const contrast = Math.max(leastRemaining, 1 - upTo(random, atStrengthOne.contrastLoss));
    const paper = (1 - contrast) * random.uniform();

    const lowHeight = Math.max(2, Math.round(height * resolution));
    const lowWidth = Math.max(2, Math.round(width * resolution));
    // Where the low image's pixel (0, 0) lies in the source, and the steps from column to column and row to row.
    const cosine = Math.cos(angle);
    const sine = Math.sin(angle);
    const columnX = (width / lowWidth) * cosine * scaleX;
    const columnY = (width / lowWidth) * sine * scaleX;
    const rowX = (height / lowHeight) * (shear * cosine - sine) * scaleY;
    const rowY = (height / lowHeight) * (shear * sine + cosine) * scaleY;
    const startX = width / 2 - 0.5 + shiftX - (columnX * (lowWidth - 1) + rowX * (lowHeight - 1)) / 2;
    const startY = height / 2 - 0.5 + shiftY - (columnY * (lowWidth - 1) + rowY * (lowHeight - 1)) / 2;

    fillUpsampling(left, leftWeight, width, lowWidth);
    for (let channel = 0; channel < channels; channel++) {
      resample(
        pixels,
        channel,
        shape,
        low,
        lowHeight,
        lowWidth,
        startX,
        startY,
        columnX,
        columnY,
        rowX,
        rowY,
      );
      blurRows(low, blurred, lowHeight, lowWidth, blur);
      blurColumns(blurred, low, lowHeight, lowWidth, blur);
      upsample(low, lowHeight, lowWidth, left, leftWeight, shape, contrast, paper, out, offset + channel);
    }
    addNoise(out, offset, height * width * channels, noise, random);
  };
}

/** Samples one channel at a grid of places, bilinearly, as ink: 1 where it is black, 0 where
 * it is white and outside. `low` becomes (lowHeight, lowWidth). */
function resample(
  pixels: Uint8Array,
  channel: number,
  { height, width, channels }: ImageShape,
  low: Float32Array,
  lowHeight: number,
  lowWidth: number,
  startX: number,
  startY: number,
  columnX: number,
  columnY: number,
  rowX: number,
  rowY: number,
): void {
  const rowStep = width * channels;
  for (let row = 0, to = 0; row < lowHeight; row++) {
    for (let column = 0; column < lowWidth; column++, to++) {
      const x = startX + column * columnX + row * rowX;
      const y = startY + column * columnY + row * rowY;
      const x0 = Math.floor(x);
      const y0 = Math.floor(y);
      if (x0 < -1 || y0 < -1 || x0 >= width || y0 >= height) {
        low[to] = 0;
        continue;
      }
      const fx = x - x0;
      const fy = y - y0;
      const at = y0 * rowStep + x0 * channels + channel;
      const insideLeft = x0 >= 0;
      const insideRight = x0 + 1 < width;
      let upper = 0;
      let lower = 0;
      if (y0 >= 0) {
        if (insideLeft) upper = (1 - fx) * (255 - pixels[at]);
        if (insideRight) upper += fx * (255 - pixels[at + channels]);
      }
      if (y0 + 1 < height) {
        if (insideLeft) lower = (1 - fx) * (255 - pixels[at + rowStep]);
        if (insideRight) lower += fx * (255 - pixels[at + rowStep + channels]);
      }
      low[to] = (upper + fy * (lower - upper)) / 255;
    }
  }
}

/** Convolves each row with (weight, 1 - 2 weight, weight), repeating the edge. */
function blurRows(from: Float32Array, to: Float32Array, height: number, width: number, weight: number): void {
  const centre = 1 - 2 * weight;
  for (let row = 0; row < height; row++) {
    const first = row * width;
    const last = first + width - 1;
    to[first] = (centre + weight) * from[first] + weight * from[first + 1];
    for (let at = first + 1; at < last; at++) {
      to[at] = centre * from[at] + weight * (from[at - 1] + from[at + 1]);
    }
    to[last] = (centre + weight) * from[last] + weight * from[last - 1];
  }
}

/** Convolves each column with (weight, 1 - 2 weight, weight), repeating the edge. */
function blurColumns(
  from: Float32Array,
  to: Float32Array,
  height: number,
  width: number,
  weight: number,
): void {
  const centre = 1 - 2 * weight;
  const last = (height - 1) * width;
  for (let column = 0; column < width; column++) {
    const bottom = last + column;
    to[column] = (centre + weight) * from[column] + weight * from[column + width];
    to[bottom] = (centre + weight) * from[bottom] + weight * from[bottom - width];
  }
  for (let at = width; at < last; at++) {
    to[at] = centre * from[at] + weight * (from[at - width] + from[at + width]);
  }
}

/** For each of `width` columns, the low column left of it and the weight of that one against the next. */
function fillUpsampling(left: Int32Array, leftWeight: Float32Array, width: number, lowWidth: number): void {
  for (let column = 0; column < width; column++) {
    const x = Math.min(Math.max(((column + 0.5) * lowWidth) / width - 0.5, 0), lowWidth - 1);
    const before = Math.min(Math.floor(x), lowWidth - 2);
    left[column] = before;
    leftWeight[column] = 1 - (x - before);
  }
}

/** Scales the low image up, bilinearly, and maps ink `v` to the grey `1 - paper - contrast v`. */
function upsample(
  low: Float32Array,
  lowHeight: number,
  lowWidth: number,
  left: Int32Array,
  leftWeight: Float32Array,
  { height, width, channels }: ImageShape,
  contrast: number,
  paper: number,
  out: Float32Array,
  offset: number,
): void {
  for (let row = 0, to = offset; row < height; row++) {
    const y = Math.min(Math.max(((row + 0.5) * lowHeight) / height - 0.5, 0), lowHeight - 1);
    const above = Math.min(Math.floor(y), lowHeight - 2);
    const below = y - above;
    for (let column = 0; column < width; column++, to += channels) {
      const at = above * lowWidth + left[column];
      const weight = leftWeight[column];
      const upper = weight * low[at] + (1 - weight) * low[at + 1];
      const lower = weight * low[at + lowWidth] + (1 - weight) * low[at + lowWidth + 1];
      out[to] = 1 - paper - contrast * (upper + below * (lower - upper));
    }
  }
}

/** Mean and standard deviation of the sum of four uniform bytes, which is nearly normal (Irwin-Hall). */
const fourBytes = { mean: 510, standardDeviation: Math.sqrt((4 * (256 ** 2 - 1)) / 12) } as const;

/** Adds nearly normal noise, one draw a value, and clamps to 0 to 1. */
function addNoise(
  out: Float32Array,
  offset: number,
  length: number,
  standardDeviation: number,
  random: Random,
): void {
  const scale = standardDeviation / fourBytes.standardDeviation;
  const end = offset + length;
  for (let at = offset; at < end; at++) {
    const bits = random.uint32();
    const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
    const value = out[at] + scale * (sum - fourBytes.mean);
    out[at] = Math.min(Math.max(value, 0), 1);
  }
}
