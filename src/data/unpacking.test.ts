import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { packedBytes, plainBytes } from '../../test/support/packed-by-python.js';
import { loadZstd, type Unpack, unpackLz4Block, unpackLz4Frames, xxHash32 } from './unpacking.js';

const fewBytes = plainBytes.subarray(0, 500);
const kinds: readonly (readonly [string, () => Promise<Unpack>, Uint8Array, Uint8Array])[] = [
  ['linked LZ4 blocks', async () => unpackLz4Frames, packedBytes.linkedLz4, plainBytes],
  ['an LZ4 frame with checksums', async () => unpackLz4Frames, packedBytes.lz4WithSums, fewBytes],
  ['an LZ4 block', async () => unpackLz4Block, packedBytes.lz4Block, fewBytes],
  ['Zstandard', loadZstd, packedBytes.zstd, plainBytes],
];

test.each(kinds)(
  '%s of Python: unpacked, and refused when it is cut off or announced otherwise',
  async (...kind) => {
    const [, load, packed, plain] = kind;
    const unpack = await load();
    const unpacked = new Uint8Array(plain.length);
    unpack(packed, unpacked);
    expect(Buffer.compare(unpacked, plain)).toBe(0);
    for (let end = 0; end < packed.length; end += 1 + Math.floor(packed.length / 200))
      expect(() => unpack(packed.subarray(0, end), new Uint8Array(plain.length)), `${end}`).toThrow(Error);
    for (const length of [0, 1, plain.length - 1, plain.length + 1])
      expect(() => unpack(packed, new Uint8Array(length)), `${length}`).toThrow(/announced/);
  },
);

test.each(kinds)(
  '%s with any damage: bytes or an Error, at once, and none beyond the array',
  async (...kind) => {
    const [, load, packed, plain] = kind;
    const unpack = await load();
    const room = new Uint8Array(fewBytes.length + 64).fill(77);
    const change = fc.tuple(fc.nat(packed.length - 1), fc.nat(255));
    const property = fc.property(
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (changes, isShort) => {
        const damaged = packed.slice();
        for (const [at, value] of changes) damaged[at] = value;
        const unpacked = isShort ? room.subarray(0, fewBytes.length) : new Uint8Array(plain.length);
        try {
          unpack(damaged, unpacked);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        expect(room.subarray(fewBytes.length).every((value) => value === 77)).toBe(true);
      },
    );
    fc.assert(property, { numRuns: 300 });
  },
);

test('frames with checksums: any changed byte is found', () => {
  const { lz4WithSums: packed } = packedBytes;
  for (const at of packed.keys()) {
    const damaged = packed.slice();
    damaged[at] ^= 4;
    expect(() => unpackLz4Frames(damaged, new Uint8Array(fewBytes.length)), `${at}`).toThrow(Error);
  }
});

/** Literals, and then a match at a distance. */
type Sequence = readonly [literals: readonly number[], distance: number, length: number];

/** A block by its definition. */
function lz4Block(sequences: readonly Sequence[], last: readonly number[]): Uint8Array {
  const more = (length: number) => {
    const bytes = [];
    for (let left = length - 15; left >= 0; left -= 255) bytes.push(Math.min(255, left));
    return bytes;
  };
  return Uint8Array.from([
    ...sequences.flatMap(([literals, distance, length]) => [
      16 * Math.min(15, literals.length) + Math.min(15, length - 4),
      ...more(literals.length),
      ...literals,
      ...[distance & 255, distance >> 8],
      ...more(length - 4),
    ]),
    16 * Math.min(15, last.length),
    ...more(last.length),
    ...last,
  ]);
}

test('any sequences of literals and matches, also such that repeat what they write, are what they stand for', () => {
  const literals = (minLength: number) => fc.array(fc.nat(255), { minLength, maxLength: 300, size: 'max' });
  const sequence = fc.tuple(literals(1), fc.integer({ min: 1, max: 400 }), fc.integer({ min: 4, max: 900 }));
  const property = fc.property(fc.array(sequence, { maxLength: 8 }), literals(0), (wanted, last) => {
    const plain: number[] = [];
    const sequences: Sequence[] = [];
    for (const [own, far, length] of wanted) {
      plain.push(...own);
      const distance = 1 + ((far - 1) % plain.length);
      for (let k = 0; k < length; k++) plain.push(plain[plain.length - distance]);
      sequences.push([own, distance, length]);
    }
    plain.push(...last);
    const block = lz4Block(sequences, last);
    const unpacked = new Uint8Array(plain.length);
    unpackLz4Block(block, unpacked);
    expect([...unpacked]).toEqual(plain);
    if (plain.length > 0)
      expect(() => unpackLz4Block(block, new Uint8Array(plain.length - 1))).toThrow(/announced/);
  });
  fc.assert(property, { numRuns: 200 });
});

test('frames after one another are one text, and what a frame skips is passed over', () => {
  const skipped = Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9);
  const { lz4WithSums: frame } = packedBytes;
  const unpacked = new Uint8Array(2 * fewBytes.length);
  unpackLz4Frames(Buffer.concat([skipped, frame, skipped, frame]), unpacked);
  expect(Buffer.compare(unpacked, Buffer.concat([fewBytes, fewBytes]))).toBe(0);
});

test('a block that is independent may not repeat the one before it', () => {
  const block = [...lz4Block([[[7], 1, 8]], [])];
  const outside = [...lz4Block([[[], 1, 8]], [])];
  const frame = (flags: number) => {
    const descriptor = [flags, 0x40];
    const sum = (xxHash32(Uint8Array.from(descriptor)) >>> 8) & 255;
    const blocks = [block, outside].flatMap((bytes) => [bytes.length, 0, 0, 0, ...bytes]);
    return Uint8Array.from([0x04, 0x22, 0x4d, 0x18, ...descriptor, sum, ...blocks, 0, 0, 0, 0]);
  };
  const unpacked = new Uint8Array(17);
  unpackLz4Frames(frame(0x40), unpacked);
  expect(unpacked.every((value) => value === 7)).toBe(true);
  expect(() => unpackLz4Frames(frame(0x60), new Uint8Array(17))).toThrow(/repeats what is not there/);
});

test('25 bytes of Zstandard that announce 98,047 matches of 65,539 bytes are refused at once', async () => {
  const block = [0x00, 255, 0xff, 0xff, 0x54, 0, 0, 52, 0x01];
  const frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, (block.length << 3) | 5, 0, 0, ...block];
  const unpack = await loadZstd();
  const started = performance.now();
  expect(() => unpack(Uint8Array.from(frame), new Uint8Array(100))).toThrow(/damaged/);
  expect(performance.now() - started).toBeLessThan(1000);
});

test('an empty Zstandard frame is no bytes', async () => {
  const unpack = await loadZstd();
  const empty = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0);
  unpack(empty, new Uint8Array());
  unpack(new Uint8Array(), new Uint8Array());
  expect(() => unpack(empty, new Uint8Array(1))).toThrow(/announced/);
  expect(() => unpack(empty.subarray(1), new Uint8Array())).toThrow(/announced/);
});

test.each([
  ['', 0x02cc5d05],
  ['a', 0x550d7456],
  ['abc', 0x32d153ff],
  ['Nobody inspects the spammish repetition', 0xe2293b2f],
])('XXH32 of %j, as its specification and its authors give it', (text, hash) => {
  expect(xxHash32(Buffer.from(text))).toBe(hash);
});
