import { readFile, stat } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { assert, KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import { bmpSize, checkAnnouncedSize, isBmp } from './image-size.js';
import { decodeSmallPng, encodeSmallPng } from './png.js';
import type { ImageShape } from './source.js';

const maxFileBytes = 2 ** 30;

/**
 * Encodes an image as PNG, without loss.
 *
 * @param pixels (height, width, channels), 0 to 255
 * @returns the bytes of a PNG file
 */
export async function encodePng(pixels: Uint8Array, shape: ImageShape): Promise<Uint8Array> {
  const expected = shape.height * shape.width * shape.channels;
  assert(pixels.length === expected, `an image of ${expected} bytes came with ${pixels.length}`);
  return encodeSmallPng(pixels, shape);
}

/**
 * Decodes an image of any common format into the pixels of a shape. Training, evaluation and inference all see images
 * through this function.
 *
 * The orientation that a camera wrote down is applied. An image of another size is scaled until it covers the shape and
 * is cropped at the centre; transparency is laid on white; colours become grey, or grey becomes three equal channels, as
 * the shape asks. Of an animation or of several pages, the first is taken.
 *
 * @param bytes a PNG, JPEG, WebP, GIF, TIFF, AVIF, BMP or SVG file
 * @param shape what is wanted
 * @param name what to call the image in an error
 * @param options.maxPixels the most pixels that the file's header may announce
 * @param options.maxSeconds how long decoding may take; none for as long as it takes
 * @returns (height, width, channels), 0 to 255
 * @throws KdSpecError `image-empty`, `image-unreadable`, `image-too-large`
 * Cost: about 20 microseconds for a plain PNG of the very size, 28 x 28 pixels; else that of sharp.
 */
export async function decodeImage(
  bytes: Uint8Array,
  shape: ImageShape,
  name = 'the image',
  { maxPixels = 100e6, maxSeconds = 0 }: { readonly maxPixels?: number; readonly maxSeconds?: number } = {},
): Promise<Uint8Array> {
  if (bytes.length === 0) throw empty(name);
  return decodeSmallPng(bytes, shape) ?? decodeAny(bytes, shape, name, maxPixels, maxSeconds);
}

/**
 * Reads an image that a person named.
 *
 * @param image the path of an image file, or the bytes of one (standard input)
 * @param shape what is wanted; see {@link decodeImage}
 * @param options.maxPixels the most pixels that the file's header may announce
 * @returns (height, width, channels), 0 to 255
 * @throws KdSpecError `not-found`, `not-readable`, `image-empty`, `image-unreadable`, `image-too-large`
 */
export async function readImageFile(
  image: string | Uint8Array,
  shape: ImageShape,
  options: { readonly maxPixels?: number } = {},
): Promise<Uint8Array> {
  if (typeof image !== 'string') return decodeImage(image, shape, 'the image', options);
  return decodeImage(await readImageBytes(image), shape, image, options);
}

const severalImages = 'animations or files of several pages, of which the first image was taken';
const coloursOfPrint =
  'images in the colours of print (CMYK), converted through a colour profile, which PIL converts without one';

/**
 * What {@link decodeImage} takes of a file in a way that a person may not expect, in words: the first of several images,
 * which animations (GIF, APNG, WebP, AVIF) and pages (TIFF) are, and colours of print (JPEG, TIFF).
 *
 * @param bytes of a file that can be decoded; nothing is said of one that cannot
 * Cost: a look at the header for PNG and JPEG; one at every frame for the others.
 */
export async function imageNotes(bytes: Uint8Array): Promise<readonly string[]> {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1');
  if (head.startsWith('\x89PNG')) return isAnimatedPng(bytes) ? [severalImages] : [];
  if (head.startsWith('\xff\xd8')) return jpegComponents(bytes) === 4 ? [coloursOfPrint] : [];
  if (/^....ftypavis/s.test(head)) return [severalImages];
  if (!/^(GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+])/s.test(head)) return [];
  const { pages = 1, space } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch(() => ({ pages: 1, space: undefined }));
  return [...(pages > 1 ? [severalImages] : []), ...(space === 'cmyk' ? [coloursOfPrint] : [])];
}

/** How many colours a JPEG file has: 1 of grey, 3, or 4 of print; undefined without a header of a frame. */
function jpegComponents(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const inFrame = 9; // from its marker to the number of components
  let at = 2;
  while (at + inFrame < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return bytes[at + inFrame];
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2); // padding, or a segment
  }
  return undefined;
}

/** Whether a PNG file announces more than one frame; the chunk that does stands before the pixels. */
function isAnimatedPng(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const framing = 12; // length, type and checksum of a chunk
  for (let at = 8; at + framing <= bytes.length; at += view.getUint32(at) + framing) {
    const type = Buffer.from(bytes.buffer, bytes.byteOffset + at + 4, 4).toString('latin1');
    if (type === 'acTL') return view.getUint32(at + 8) > 1;
    if (type === 'IDAT') return false;
  }
  return false;
}

/** The bytes of an image file, if it is a file of a size that an image can have. */
export async function readImageBytes(path: string): Promise<Uint8Array> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) {
      throw new KdSpecError(
        'not-readable',
        `expected an image at ${path}, found a folder: name the files in it`,
      );
    }
    if (info.size > maxFileBytes) {
      throw new KdSpecError(
        'image-too-large',
        `expected an image of at most ${maxFileBytes} bytes in ${path}, found ${info.size}: make it smaller`,
      );
    }
    return await readFile(path);
  } catch (error) {
    throw asFileError(error, path, 'an image');
  }
}

async function decodeAny(
  bytes: Uint8Array,
  { height, width, channels }: ImageShape,
  name: string,
  maxPixels: number,
  maxSeconds: number,
): Promise<Uint8Array> {
  checkAnnouncedSize(bytes, name, maxPixels);
  await checkDepth(bytes, name);
  try {
    const decoder = isBmp(bytes)
      ? await decodeBmp(bytes, maxPixels)
      : sharp(bytes, { limitInputPixels: maxPixels });
    const pixels = await decoder
      .autoOrient()
      .flatten({ background: 'white' })
      .resize(width, height, { fit: 'cover' })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .timeout({ seconds: maxSeconds })
      .toBuffer();
    assert(pixels.length === height * width * channels, `sharp gave ${pixels.length} bytes for ${name}`);
    return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
  } catch (cause) {
    const size = await announcedSize(bytes);
    if (size && size.width * size.height > maxPixels) {
      throw new KdSpecError(
        'image-too-large',
        `expected at most ${maxPixels} pixels in ${name}, its header announces ${size.width} x ${size.height}` +
          ` = ${size.width * size.height}: make it smaller, ${width} x ${height} are used`,
        { cause },
      );
    }
    const reason = reasonOf(cause);
    if (maxSeconds > 0 && reason.startsWith('timeout')) {
      throw new KdSpecError(
        'image-too-large',
        `expected ${name} to be decoded within ${maxSeconds} s, it takes longer: make it smaller`,
        { cause },
      );
    }
    const kind = foreignKind(bytes.subarray(0, 256)) ?? 'it is an image';
    const advice =
      kind === 'it is an image' ? `it cannot be decoded (${reason}): convert or remove it` : kind;
    throw new KdSpecError('image-unreadable', `expected an image in ${name}, but ${advice}`, { cause });
  }
}

/** Why decoding failed, each thing once: libvips says a thing for each time that it looks at the file. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const lines = text
    .replace(/\bVips\w*: /g, '')
    .replace('Warning treated as error due to failOn setting', 'it is damaged')
    .split('\n')
    .map((line) => line.trim());
  const isNew = (line: string, at: number) => !lines.slice(0, at).some((before) => before.endsWith(line));
  return lines.filter(isNew).join('; ');
}

/**
 * Only TIFF files hold numbers of other types than bytes and 16 bits. What black and white are among them, nothing says:
 * floats from 0 to 1 would all become black.
 *
 * @throws KdSpecError `image-unreadable`
 */
async function checkDepth(bytes: Uint8Array, name: string): Promise<void> {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4)).toString('latin1');
  if (!/^(II[*+]\0|MM\0[*+])/s.test(head)) return;
  const { depth } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch(() => ({ depth: 'uchar' })); // decoding says what is wrong
  if (depth === 'uchar' || depth === 'ushort') return;
  throw new KdSpecError(
    'image-unreadable',
    `expected an image of 8 or 16 bits in ${name}, found values of the type ${depth}, of which nothing says what is ` +
      'black and what is white: convert it',
  );
}

/** The size in the header of an image; undefined where there is none. */
async function announcedSize(bytes: Uint8Array): Promise<{ width: number; height: number } | undefined> {
  if (isBmp(bytes)) return bmpSize(bytes);
  return await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch(() => undefined);
}

/** A BMP file, which sharp does not know, as an image of its pixels. */
async function decodeBmp(bytes: Uint8Array, maxPixels: number): Promise<Sharp> {
  const announced = bmpSize(bytes);
  if (announced.width * announced.height > maxPixels) throw new Error('too many pixels');
  const { createCanvas, loadImage } = await import('@napi-rs/canvas');
  const image = await loadImage(Buffer.from(bytes));
  const { width, height } = image;
  const context = createCanvas(width, height).getContext('2d');
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return sharp(Buffer.from(data.buffer), { raw: { width, height, channels: 4 } });
}

function empty(name: string): KdSpecError {
  return new KdSpecError(
    'image-empty',
    `expected an image in ${name}, found 0 bytes: remove it or copy it again`,
  );
}
