import { stat } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { assert, KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { decodeSmallPng, encodeSmallPng } from './png.js';
import type { ImageShape } from './source.js';

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
 * Decodes an image of any common format into the pixels of a shape.
 *
 * An image of another size is scaled until it covers the shape and is cropped at the centre; transparency
 * is laid on white; colours become grey, or grey becomes three equal channels, as the shape asks.
 *
 * @param bytes a PNG, JPEG, WebP, GIF, TIFF or AVIF file
 * @param shape what is wanted
 * @param name what to call the image in an error
 * @returns (height, width, channels), 0 to 255
 * @throws KdSpecError `image-empty`, `image-unreadable`
 * Cost: about 20 microseconds for a plain PNG of the very shape and 28 x 28 pixels; else that of sharp.
 */
export async function decodeImage(
  bytes: Uint8Array,
  shape: ImageShape,
  name = 'the image',
): Promise<Uint8Array> {
  return decodeSmallPng(bytes, shape) ?? decodeWithSharp(bytes, name, shape);
}

/**
 * Reads an image that a person named, with checks before anything large is decoded.
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
  { maxPixels = 100e6 }: { readonly maxPixels?: number } = {},
): Promise<Uint8Array> {
  const name = typeof image === 'string' ? image : 'the image';
  if (typeof image === 'string') await checkFile(image);
  return decodeWithSharp(image, name, shape, maxPixels);
}

async function checkFile(path: string): Promise<void> {
  const stats = await stat(path).catch((error: unknown) => {
    throw asFileError(error, path, 'an image');
  });
  if (stats.isDirectory()) {
    throw new KdSpecError(
      'not-readable',
      `expected an image at ${path}, found a folder: name the files in it`,
    );
  }
  if (stats.size === 0) throw empty(path);
}

async function decodeWithSharp(
  image: string | Uint8Array,
  name: string,
  { height, width, channels }: ImageShape,
  maxPixels?: number,
): Promise<Uint8Array> {
  if (image.length === 0) throw empty(name);
  const decode = async <T>(work: (decoder: Sharp) => Promise<T>) => {
    try {
      // The limit is checked below, from the header, so that the message can say what was found.
      return await work(sharp(image, { limitInputPixels: maxPixels === undefined }));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new KdSpecError(
        'image-unreadable',
        `expected a PNG, JPEG or WebP image in ${name}, but it cannot be decoded (${reason}): convert or remove it`,
        { cause },
      );
    }
  };

  if (maxPixels !== undefined) {
    const header = await decode((decoder) => decoder.metadata());
    const pixels = header.width * header.height;
    if (pixels > maxPixels) {
      throw new KdSpecError(
        'image-too-large',
        `expected at most ${maxPixels} pixels in ${name}, its header announces ${header.width} x ${header.height}` +
          ` = ${pixels}: make it smaller, ${width} x ${height} are used`,
      );
    }
  }
  const { data } = await decode((decoder) =>
    decoder
      .autoOrient()
      .flatten({ background: 'white' })
      .resize(width, height, { fit: 'cover' })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true }),
  );
  assert(data.length === height * width * channels, `sharp gave ${data.length} bytes for ${name}`);
  return new Uint8Array(data.buffer, data.byteOffset, data.length);
}

function empty(name: string): KdSpecError {
  return new KdSpecError(
    'image-empty',
    `expected an image in ${name}, found 0 bytes: remove it or copy it again`,
  );
}
