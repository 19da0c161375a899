import { crc32, deflateSync, inflateSync } from 'node:zlib';
import type { ImageShape } from './source.js';

/**
 * A codec for small 8-bit PNG images, grey or RGB.
 *
 * Training streams thousands of tiny images a second. For those a general library spends its time on the
 * thread pool and on promises, not on pixels: sharp takes several hundred microseconds of the main thread
 * for a 28 x 28 image, inflating and unfiltering it here takes about twenty. Everything that could change what
 * the pixels mean (palettes, 16 bits, interlacing, and nearly any chunk beside header, pixels and end: transparency,
 * colour profiles, orientation) and every file that is not sound goes to sharp: see `image-codec.ts`.
 *
 * Source: PNG specification (third edition), sections 5, 7.3, 9 and 11.2.
 */
const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const colourTypeOf = { 1: 0, 3: 2 } as const;
const headerBytes = 13;
/** Length, type and checksum of a chunk. */
const chunkFramingBytes = 12;

/**
 * Encodes an image without loss.
 *
 * @param pixels (height, width, channels), 0 to 255
 * @returns a PNG file; the same bytes for the same pixels and zlib
 * Cost: about 30 microseconds for 28 x 28 pixels.
 */
export function encodeSmallPng(pixels: Uint8Array, { height, width, channels }: ImageShape): Uint8Array {
  const stride = width * channels;
  const filtered = new Uint8Array(height * (stride + 1)); // one filter byte a row; 0 is "none"
  for (let row = 0; row < height; row++) {
    filtered.set(pixels.subarray(row * stride, (row + 1) * stride), row * (stride + 1) + 1);
  }
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  header[9] = colourTypeOf[channels];
  const chunks = [
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(filtered)),
    chunk('IEND', Buffer.alloc(0)),
  ];
  return Buffer.concat([signature, ...chunks]);
}

/**
 * Decodes a PNG image that is 8-bit, not interlaced, of this very size, with nothing that changes what the pixels mean. A
 * grey one is read as colours, too, all three of them equal; colours do not become grey here.
 *
 * @returns (height, width, channels), 0 to 255; `undefined` for anything else, damaged files among it
 */
export function decodeSmallPng(file: Uint8Array, shape: ImageShape): Uint8Array | undefined {
  const { height, width } = shape;
  const found = imageData(file, shape);
  if (!found) return undefined;
  const { data, channels } = found;
  const stride = width * channels;
  let filtered: Uint8Array;
  try {
    filtered = inflateSync(data, { maxOutputLength: height * (stride + 1) });
  } catch {
    return undefined;
  }
  if (filtered.length !== height * (stride + 1)) return undefined;
  const pixels = unfilter(filtered, height, stride, channels);
  return pixels && channels < shape.channels ? asColours(pixels) : pixels;
}

function asColours(grey: Uint8Array): Uint8Array {
  const pixels = new Uint8Array(3 * grey.length);
  for (let at = 0, to = 0; at < grey.length; at++, to += 3) {
    const value = grey[at];
    pixels[to] = value;
    pixels[to + 1] = value;
    pixels[to + 2] = value;
  }
  return pixels;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(data.length + chunkFramingBytes);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** The compressed pixels, when the file is sound, the header announces the shape, and there is nothing else. */
function imageData(
  file: Uint8Array,
  { height, width, channels }: ImageShape,
): { readonly data: Uint8Array; readonly channels: 1 | 3 } | undefined {
  if (file.length < signature.length || !signature.every((byte, index) => file[index] === byte))
    return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const parts: Uint8Array[] = [];
  let isGrey = false;
  for (let offset = signature.length; offset + chunkFramingBytes <= file.length; ) {
    const length = view.getUint32(offset);
    const type = view.getUint32(offset + 4);
    const start = offset + 8;
    const end = start + length;
    if (end + 4 > file.length || view.getUint32(end) !== crc32(file.subarray(offset + 4, end)))
      return undefined;
    if (offset === signature.length) {
      isGrey = file[start + 9] === colourTypeOf[1];
      const isPlain =
        type === chunkType.IHDR &&
        length === headerBytes &&
        view.getUint32(start) === width &&
        view.getUint32(start + 4) === height &&
        file[start + 8] === 8 &&
        (isGrey || file[start + 9] === colourTypeOf[channels]) &&
        file.subarray(start + 10, end).every((byte) => byte === 0);
      if (!isPlain) return undefined;
    } else if (type === chunkType.IDAT) parts.push(file.subarray(start, end));
    else if (type === chunkType.IEND)
      return { data: parts.length === 1 ? parts[0] : Buffer.concat(parts), channels: isGrey ? 1 : 3 };
    else if (type !== chunkType.pHYs && type !== chunkType.tIME) return undefined;
    offset = end + 4;
  }
  return undefined;
}

/** The four letters of a chunk's type as one big-endian number. */
const chunkType = {
  IHDR: 0x49484452,
  IDAT: 0x49444154,
  IEND: 0x49454e44,
  pHYs: 0x70485973, // the size of a pixel in metres
  tIME: 0x74494d45, // of the last change
} as const;

/** Undoes the filter of each row; `undefined` for an unknown filter. */
function unfilter(
  filtered: Uint8Array,
  height: number,
  stride: number,
  step: number,
): Uint8Array | undefined {
  const pixels = new Uint8Array(height * stride);
  for (let row = 0; row < height; row++) {
    const filter = filtered[row * (stride + 1)];
    const from = row * (stride + 1) + 1;
    const to = row * stride;
    if (filter === 0) {
      pixels.set(filtered.subarray(from, from + stride), to);
      continue;
    }
    if (filter > 4) return undefined;
    for (let column = 0; column < stride; column++) {
      const left = column >= step ? pixels[to + column - step] : 0;
      const up = row > 0 ? pixels[to + column - stride] : 0;
      const upLeft = row > 0 && column >= step ? pixels[to + column - stride - step] : 0;
      pixels[to + column] = filtered[from + column] + predict(filter, left, up, upLeft);
    }
  }
  return pixels;
}

function predict(filter: number, left: number, up: number, upLeft: number): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const estimate = left + up - upLeft;
  const toLeft = Math.abs(estimate - left);
  const toUp = Math.abs(estimate - up);
  const toUpLeft = Math.abs(estimate - upLeft);
  if (toLeft <= toUp && toLeft <= toUpLeft) return left;
  return toUp <= toUpLeft ? up : upLeft;
}
