import sharp from 'sharp';
import { encodeSmallPng } from './png.js';
import type { ImageShape } from './source.js';

/** Small images of classes, one beside the other in one picture, so that a page holds thousands. */
export interface ThumbnailSheet {
  /** The picture, as a data URI. */
  readonly picture: string;
  /** Cells beside each other. */
  readonly columns: number;
  readonly rows: number;
  /** Of a cell, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Whose image each cell holds, row by row. */
  readonly classes: readonly number[];
}

const mostPixels = 12e6; // of a sheet: telephones refuse pictures of more than 16.7 million
const largestSide = 48; // of a cell, in pixels
const mostBytes = 6e6;

/**
 * Collects one image of each class and puts them into one picture.
 *
 * Images larger than a cell are made smaller; a cell has at most 48 pixels a side, fewer where there are so many classes that
 * the picture would be too large to open. The first image of a class that comes is taken.
 *
 * @param shape of the images; `add` takes their pixels, (height, width, channels), 0 to 255
 * @param classes how many there are
 */
export function createThumbnails(shape: ImageShape, classes: number) {
  const side = Math.max(
    8,
    Math.min(largestSide, Math.max(shape.height, shape.width), Math.sqrt(mostPixels / classes)),
  );
  const scale = Math.min(1, side / Math.max(shape.height, shape.width));
  const cell = {
    height: Math.max(1, Math.floor(shape.height * scale)),
    width: Math.max(1, Math.floor(shape.width * scale)),
    channels: shape.channels,
  };
  const found = new Map<number, Uint8Array>();
  return {
    wants: (label: number) => !found.has(label),
    async add(label: number, pixels: Uint8Array): Promise<void> {
      if (!found.has(label)) found.set(label, scale === 1 ? pixels : await resized(pixels, shape, cell));
    },
    async result(): Promise<ThumbnailSheet> {
      const labels = [...found.keys()].sort((a, b) => a - b);
      const columns = Math.max(1, Math.ceil(Math.sqrt((labels.length * cell.height) / cell.width)));
      const rows = Math.max(1, Math.ceil(labels.length / columns));
      const stride = columns * cell.width * cell.channels;
      const sheet = new Uint8Array(rows * cell.height * stride);
      for (const [place, label] of labels.entries()) {
        const pixels = found.get(label) ?? new Uint8Array();
        const corner =
          Math.floor(place / columns) * cell.height * stride + (place % columns) * cell.width * cell.channels;
        for (let y = 0; y < cell.height; y++) {
          const row = pixels.subarray(y * cell.width * cell.channels, (y + 1) * cell.width * cell.channels);
          sheet.set(row, corner + y * stride);
        }
      }
      const whole = { height: rows * cell.height, width: columns * cell.width, channels: cell.channels };
      return {
        picture: await encodeSheet(sheet, whole),
        columns,
        rows,
        width: cell.width,
        height: cell.height,
        classes: labels,
      };
    },
  };
}

/**
 * An image as a data URI for a page.
 *
 * @param pixels (height, width, channels), 0 to 255
 * @param options.most pixels a side; a larger image is made smaller
 * @returns PNG, without loss, of a small image; WebP of a large one
 */
export async function imageDataUri(
  pixels: Uint8Array,
  shape: ImageShape,
  { most }: { readonly most: number },
): Promise<string> {
  const side = Math.max(shape.height, shape.width);
  if (side <= most) return dataUri('png', encodeSmallPng(pixels, shape));
  return dataUri(
    'webp',
    await raw(pixels, shape).resize(most, most, { fit: 'inside' }).webp({ quality: 75 }).toBuffer(),
  );
}

async function resized(pixels: Uint8Array, shape: ImageShape, cell: ImageShape): Promise<Uint8Array> {
  const { data } = await raw(pixels, shape)
    .resize(cell.width, cell.height, { fit: 'fill' })
    .toColourspace(cell.channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return new Uint8Array(data);
}

/** As PNG where that is small, else as WebP, of a quality that keeps it below the limit. */
async function encodeSheet(sheet: Uint8Array, shape: ImageShape): Promise<string> {
  const png = await raw(sheet, shape).png({ compressionLevel: 9 }).toBuffer();
  if (png.length <= mostBytes / 4) return dataUri('png', png);
  for (const quality of [80, 60, 40]) {
    const webp = await raw(sheet, shape).webp({ quality }).toBuffer();
    if (webp.length <= mostBytes || quality === 40) return dataUri('webp', webp);
  }
  return dataUri('png', png);
}

const raw = (pixels: Uint8Array, { height, width, channels }: ImageShape) =>
  sharp(pixels, { raw: { height, width, channels }, limitInputPixels: false });

const dataUri = (type: 'png' | 'webp', bytes: Uint8Array) =>
  `data:image/${type};base64,${Buffer.from(bytes).toString('base64')}`;
