import { readFileSync } from 'node:fs';
import { createCanvas, GlobalFonts } from '@napi-rs/canvas';
import { KdSpecError } from '../../core/errors.js';

/** How large a design is drawn and where, so that its characters fill the image as those of others do. */
export interface Placement {
  readonly fontSizePx: number;
  /** Start of the baseline. */
  readonly xPx: number;
  readonly yPx: number;
}

/** Draws characters from font files. */
export interface GlyphRenderer {
  /** Where to draw the characters of a design, judged by a sample of them. */
  place(sample: readonly Glyph[]): Placement;
  /** One character, ink 255 on 0, as a new array of (size, size) pixels. */
  draw(glyph: Glyph, placement: Placement): Uint8Array;
}

/** A character and the font file that draws it. The font's cmap must have the character. */
export interface Glyph {
  readonly path: string;
  readonly codePoint: number;
}

/** Part of the image's side that stays free on each side of a design's typical ink. */
const margin = 1 / 14;

/** Left and right (top and bottom) edges are taken at these quantiles: an odd character is clipped, not decisive. */
const edgeQuantile = 0.05;

/** Size at which ink is measured: large enough that rounding to pixels does not matter. */
const measuringSizePx = 200;

/**
 * A renderer of square grey images of `size` pixels a side.
 *
 * Characters are placed by design, not each by itself: a dot stays small and in its corner, as it is in print.
 */
export function createGlyphRenderer(size: number): GlyphRenderer {
  const context = createCanvas(size, size).getContext('2d');
  context.lang = 'en'; // else the machine's language may choose among a font's forms of a character
  context.fillStyle = '#fff';

  function place(sample: readonly Glyph[]): Placement {
    const boxes = sample.map(({ path, codePoint }) => {
      context.font = `${measuringSizePx}px ${faceOf(path)}`;
      return context.measureText(String.fromCodePoint(codePoint));
    });
    const left = quantile(
      edgeQuantile,
      boxes.map((box) => -box.actualBoundingBoxLeft),
    ); // prettier-ignore
    const right = quantile(
      1 - edgeQuantile,
      boxes.map((box) => box.actualBoundingBoxRight),
    ); // prettier-ignore
    const top = quantile(
      edgeQuantile,
      boxes.map((box) => -box.actualBoundingBoxAscent),
    ); // prettier-ignore
    const bottom = quantile(
      1 - edgeQuantile,
      boxes.map((box) => box.actualBoundingBoxDescent),
    ); // prettier-ignore
    const scale = ((1 - 2 * margin) * size) / Math.max(right - left, bottom - top, 1);
    return {
      fontSizePx: measuringSizePx * scale,
      xPx: size / 2 - (scale * (left + right)) / 2,
      yPx: size / 2 - (scale * (top + bottom)) / 2,
    };
  }

  function draw({ path, codePoint }: Glyph, { fontSizePx, xPx, yPx }: Placement): Uint8Array {
    context.clearRect(0, 0, size, size);
    context.font = `${fontSizePx}px ${faceOf(path)}`;
    context.fillText(String.fromCodePoint(codePoint), xPx, yPx);
    const rgba = context.getImageData(0, 0, size, size).data; // (size, size, 4)
    const pixels = new Uint8Array(size * size);
    for (let pixel = 0; pixel < pixels.length; pixel++) pixels[pixel] = rgba[4 * pixel + 3];
    return pixels;
  }

  return { place, draw };
}

function quantile(fraction: number, values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round(fraction * (sorted.length - 1))] ?? 0;
}

/**
 * The name under which the canvas knows each file that was drawn from; the canvas keeps one table a process.
 *
 * Each file has a name of its own: drawing from one file cannot fall back on another one of the family, and
 * a character costs 0.04 ms, where a name shared by the 120 files of a family costs 1.4 ms.
 */
const faces = new Map<string, string>();

function faceOf(path: string): string {
  const known = faces.get(path);
  if (known !== undefined) return known;
  const face = `kd-spec-face-${faces.size}`;
  if (GlobalFonts.register(readFileSync(path), face) === null) {
    throw new KdSpecError(
      'font-unusable',
      `expected a font that can be drawn from, but the canvas rejects ${path}: ` +
        `replace the file, or take it out of the font list`,
    );
  }
  faces.set(path, face);
  return face;
}
