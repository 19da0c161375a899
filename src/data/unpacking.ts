/*
 * LZ4 and Zstandard, the ways in which Arrow and Parquet files are compressed.
 *
 * A file announces how many bytes there are, unpacked. Every function here writes exactly as many or throws, and its time is
 * bounded by the lengths of its input and its output.
 *
 * Source: LZ4 Frame Format 1.6.4 and LZ4 Block Format of lz4.github.io; XXH32 of the xxHash specification 0.2.0;
 * RFC 8878, Zstandard.
 */

/** Unpacks into an array of as many bytes as were announced, or throws an Error that says what is wrong. */
export type Unpack = (packed: Uint8Array, unpacked: Uint8Array) => void;

/** The most bytes that one packed byte can stand for: of LZ4 as a part of a length, of Zstandard as a block that repeats. */
export const mostPerByte = { lz4: 255, zstd: 2 ** 17 / 4 } as const;

/** Packed and unpacked bytes together that the decoder of Zstandard has room for: its memory has at most 2 GiB. */
export const zstdRoomBytes = 1.75 * 2 ** 30;

const frameMagic = 0x184d_2204;
const skippableMagic = 0x184d_2a50; // and the 15 after it
const endMark = 0;
const storedFlag = 0x8000_0000; // of a block that is not packed
const shortestMatch = 4;
const shortCopy = 32; // bytes that a loop copies faster than a call
const lengthMore = 15; // the part of a length in a token after which more bytes follow

/**
 * Unpacks LZ4 frames, with blocks that are linked or independent.
 *
 * @param packed one frame or several, whose checksums are verified where they have any
 * @throws Error when a frame is damaged or cut off, needs a dictionary, or has another length than `unpacked`
 * Cost: up to 10 ms a megabyte, where matches are short; 0.3 ms where nothing repeats.
 */
export const unpackLz4Frames: Unpack = (packed, unpacked) => {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  let at = 0;
  let to = 0;
  const take = (bytes: number) => {
    if (at + bytes > packed.length) throw new Error('an LZ4 frame is cut off');
    at += bytes;
    return at - bytes;
  };
  const expectSum = (start: number, end: number, bytes: Uint8Array, what: string) => {
    if (view.getUint32(take(4), true) !== xxHash32(bytes.subarray(start, end)))
      throw new Error(`the checksum of ${what} of an LZ4 frame is another`);
  };
  while (at < packed.length) {
    const magic = view.getUint32(take(4), true);
    if (magic >>> 4 === skippableMagic >>> 4) {
      take(view.getUint32(take(4), true));
      continue;
    }
    if (magic !== frameMagic) throw new Error('there is no LZ4 frame');
    const descriptor = take(2);
    const [flags, sizeCode] = [packed[descriptor], (packed[descriptor + 1] >>> 4) & 7];
    if (flags >>> 6 !== 1 || sizeCode < 4) throw new Error('an LZ4 frame is of an unknown version');
    if ((flags & 1) !== 0) throw new Error('an LZ4 frame needs a dictionary');
    const [areIndependent, haveSums] = [(flags & 32) !== 0, (flags & 16) !== 0];
    const [hasSize, hasSum] = [(flags & 8) !== 0, (flags & 4) !== 0];
    const size = hasSize ? view.getBigUint64(take(8), true) : undefined;
    const headerSum = (xxHash32(packed.subarray(descriptor, at)) >>> 8) & 255;
    if (packed[take(1)] !== headerSum)
      throw new Error('the checksum of the header of an LZ4 frame is another');
    const frame = to;
    const blockLimit = 2 ** (8 + 2 * sizeCode); // 64 KiB to 4 MiB
    for (;;) {
      const word = view.getUint32(take(4), true);
      if (word === endMark) break;
      const start = take(word % storedFlag);
      const end = Math.min(unpacked.length, to + blockLimit);
      if (word < storedFlag) {
        to = unpackBlock(packed.subarray(start, at), unpacked, {
          start: to,
          end,
          floor: areIndependent ? to : frame,
        });
      } else {
        if (to + at - start > end)
          throw new Error(`more bytes than the ${unpacked.length} that were announced`);
        unpacked.set(packed.subarray(start, at), to);
        to += at - start;
      }
      if (haveSums) expectSum(start, at, packed, 'a block');
    }
    if (size !== undefined && size !== BigInt(to - frame)) {
      throw new Error(`an LZ4 frame of ${to - frame} bytes announces ${size}`);
    }
    if (hasSum) expectSum(frame, to, unpacked, 'the content');
  }
  expectAll(to, unpacked);
};

/**
 * Unpacks an LZ4 block, which Parquet calls `LZ4_RAW`.
 *
 * @throws Error when the block is damaged or cut off, or has another length than `unpacked`
 */
export const unpackLz4Block: Unpack = (packed, unpacked) => {
  expectAll(unpackBlock(packed, unpacked, { start: 0, end: unpacked.length, floor: 0 }), unpacked);
};

/** @returns where the bytes of the block end in `unpacked` */
function unpackBlock(
  packed: Uint8Array,
  unpacked: Uint8Array,
  {
    start,
    end,
    floor,
  }: {
    readonly start: number;
    /** Where its bytes must have ended. */
    readonly end: number;
    /** The first byte that a match may repeat. */
    readonly floor: number;
  },
): number {
  let at = 0;
  let to = start;
  /** The rest of a length: bytes that are added up to the first below 255. */
  const more = () => {
    for (let sum = 0; at < packed.length; ) {
      const next = packed[at++];
      sum += next;
      if (next < 255) return sum;
    }
    throw new Error('an LZ4 block is cut off');
  };
  for (;;) {
    if (at >= packed.length) throw new Error('an LZ4 block is cut off');
    const token = packed[at++];
    const literals = token >>> 4 === lengthMore ? lengthMore + more() : token >>> 4;
    if (at + literals > packed.length) throw new Error('an LZ4 block is cut off');
    if (to + literals > end) throw new Error(`more bytes than the ${end - start} that were announced`);
    if (literals > shortCopy) unpacked.set(packed.subarray(at, at + literals), to);
    else for (let k = 0; k < literals; k++) unpacked[to + k] = packed[at + k];
    at += literals;
    to += literals;
    if (at === packed.length) return to; // the last sequence has no match
    if (at + 2 > packed.length) throw new Error('an LZ4 block is cut off');
    const distance = packed[at] + 256 * packed[at + 1];
    at += 2;
    const length = shortestMatch + (token & 15) + ((token & 15) === lengthMore ? more() : 0);
    const from = to - distance;
    if (distance === 0 || from < floor) throw new Error('an LZ4 block repeats what is not there');
    if (to + length > end) throw new Error(`more bytes than the ${end - start} that were announced`);
    if (distance === 1) unpacked.fill(unpacked[from], to, to + length);
    else if (distance >= length && length > shortCopy) unpacked.copyWithin(to, from, from + length);
    else for (let k = 0; k < length; k++) unpacked[to + k] = unpacked[from + k]; // it may repeat what it writes
    to += length;
  }
}

const [prime1, prime2, prime3, prime4, prime5] = [
  0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1,
];

/** XXH32 with the seed 0, unsigned. */
export function xxHash32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const turned = (value: number, by: number) => (value << by) | (value >>> (32 - by));
  const lane = (sum: number, at: number) =>
    Math.imul(turned((sum + Math.imul(view.getInt32(at, true), prime2)) | 0, 13), prime1);
  let at = 0;
  let hash = prime5;
  if (bytes.length >= 16) {
    let [a, b, c, d] = [(prime1 + prime2) | 0, prime2 | 0, 0, -prime1 | 0];
    for (; at + 16 <= bytes.length; at += 16) {
      a = lane(a, at);
      b = lane(b, at + 4);
      c = lane(c, at + 8);
      d = lane(d, at + 12);
    }
    hash = turned(a, 1) + turned(b, 7) + turned(c, 12) + turned(d, 18);
  }
  hash = (hash + bytes.length) | 0;
  for (; at + 4 <= bytes.length; at += 4)
    hash = Math.imul(turned((hash + Math.imul(view.getInt32(at, true), prime3)) | 0, 17), prime4);
  for (; at < bytes.length; at++)
    hash = Math.imul(turned((hash + Math.imul(bytes[at], prime5)) | 0, 11), prime1);
  hash = Math.imul(hash ^ (hash >>> 15), prime2);
  hash = Math.imul(hash ^ (hash >>> 13), prime3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A Zstandard frame of one byte. */
const frameOfOne = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 0);

let loadingZstd: Promise<Unpack> | undefined;

/**
 * Loads the decoder of Zstandard: the reference implementation, as WebAssembly.
 *
 * @returns a function that throws an Error when frames are damaged or cut off, or have another length than `unpacked`,
 *   or both together have more than {@link zstdRoomBytes}
 * Cost: 0.1 s once, and as much memory as the largest array so far needed, which the process keeps.
 */
export function loadZstd(): Promise<Unpack> {
  loadingZstd ??= (async () => {
    const { ZSTDDecoder } = await import('zstddec');
    const decoder = new ZSTDDecoder();
    await decoder.init();
    return (packed: Uint8Array, unpacked: Uint8Array) => {
      if (packed.length === 0) return expectAll(0, unpacked);
      if (packed.length + unpacked.length > zstdRoomBytes) throw new Error('too much to unpack at once');
      // Of no bytes the decoder would believe what the frame says, and it returns none where it fails.
      const isEmpty = unpacked.length === 0;
      const found = decoder.decode(
        isEmpty ? Buffer.concat([packed, frameOfOne]) : packed,
        Math.max(1, unpacked.length),
      );
      if (found.length === 0) {
        throw new Error(
          `its Zstandard frames are damaged, or hold more than the ${unpacked.length} bytes that were announced`,
        );
      }
      if (isEmpty) return;
      expectAll(found.length, unpacked);
      unpacked.set(found);
    };
  })();
  return loadingZstd;
}

function expectAll(length: number, unpacked: Uint8Array): void {
  if (length === unpacked.length) return;
  throw new Error(`${length} bytes instead of the ${unpacked.length} that were announced`);
}
