import { KdSpecError } from '../core/errors.js';

/*
 * What the header of an image announces, looked at before a library believes it.
 */

const bmpHeaderBytes = 30; // up to the bits a pixel
const pngHeaderBytes = 29;
const mostCoordinate = 10_000_000; // libvips has no larger images than ten times that

/**
 * Refuses sizes that no image has. A PNG or BMP file cannot hold more pixels than its compression could have packed into
 * its bytes: a header that announces more is damaged, or an attack, and would cost seconds and a gigabyte of memory
 * before that shows.
 *
 * @throws KdSpecError `image-unreadable`; a size beyond the limit is refused elsewhere
 */
export function checkAnnouncedSize(bytes: Uint8Array, name: string, maxPixels: number): void {
  const announced = isBmp(bytes) ? bmpSize(bytes) : isPng(bytes) ? pngSize(bytes) : avifSize(bytes);
  if (announced === undefined) return;
  const { width, height, bits, ratio } = announced;
  // libvips writes of it to the terminal, past everything that could catch it.
  if (width > mostCoordinate || height > mostCoordinate)
    throw new KdSpecError(
      'image-unreadable',
      `expected an image in ${name}, but its header announces ${width} x ${height} pixels: it is damaged, copy it again`,
    );
  if (width * height > maxPixels || (width * height * bits) / 8 <= bytes.length * ratio) return;
  throw new KdSpecError(
    'image-unreadable',
    `expected an image in ${name}, but its header announces ${width} x ${height} pixels, more than its ${bytes.length} ` +
      'bytes can hold: it is damaged, copy it again',
  );
}

/** What a header announces: bits a pixel, and the most pixels' bytes that a byte of the file can stand for. */
interface AnnouncedSize {
  readonly width: number;
  readonly height: number;
  readonly bits: number;
  readonly ratio: number;
}

function isPng(bytes: Uint8Array): boolean {
  return bytes.length > pngHeaderBytes && bytes[0] === 0x89 && bytes[1] === 0x50; // 0x89 P
}

function pngSize(bytes: Uint8Array): AnnouncedSize {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const channels = [1, 0, 3, 1, 2, 0, 4].at(bytes[25]) ?? 0; // by type of colour
  const deflate = 1032; // the most that it packs
  return {
    ...{ width: view.getUint32(16), height: view.getUint32(20) },
    ...{ bits: channels * bytes[24], ratio: deflate },
  };
}

export function isBmp(bytes: Uint8Array): boolean {
  return bytes.length > bmpHeaderBytes && bytes[0] === 0x42 && bytes[1] === 0x4d; // BM
}

/** The largest size that the properties of an AVIF file announce (ISO/IEC 23008-12, box `ispe`). */
function avifSize(bytes: Uint8Array): AnnouncedSize | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (file.length < 12 || !/^ftyp(avi[fs]|mif1|msf1)/.test(file.toString('latin1', 4, 12))) return undefined;
  let start = 0; // of the box `meta`, among those of the top level
  while (start + 8 <= file.length && file.toString('latin1', start + 4, start + 8) !== 'meta')
    start += Math.max(8, file.readUInt32BE(start));
  if (start + 8 > file.length) return undefined;
  const end = Math.min(file.length, start + file.readUInt32BE(start)) - 16;
  let [width, height] = [0, 0];
  for (let at = file.indexOf('ispe', start); at >= 0 && at <= end; at = file.indexOf('ispe', at + 4)) {
    width = Math.max(width, file.readUInt32BE(at + 8));
    height = Math.max(height, file.readUInt32BE(at + 12));
  }
  return { width, height, bits: 1, ratio: Number.POSITIVE_INFINITY };
}

export function bmpSize(bytes: Uint8Array): AnnouncedSize {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(14, true) === 12) {
    // The header of OS/2, whose numbers are shorter.
    return {
      ...{ width: view.getUint16(18, true), height: view.getUint16(20, true) },
      ...{ bits: view.getUint16(24, true), ratio: 1 },
    };
  }
  const [width, height] = [Math.abs(view.getInt32(18, true)), Math.abs(view.getInt32(22, true))];
  const compression = bytes.length >= 34 ? view.getUint32(30, true) : 0;
  const runLength = 256; // 255 pixels of a byte each in two bytes, at most
  const isPlain = compression === 0 || compression === 3 || compression === 6;
  return { width, height, bits: Math.max(1, view.getUint16(28, true)), ratio: isPlain ? 1 : runLength };
}
