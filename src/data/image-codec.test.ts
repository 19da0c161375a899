import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync, gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeImage, encodePng, imageNotes, readImageFile } from './image-codec.js';

const shape = { height: 8, width: 8, channels: 1 } as const;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-codec-'));
});
afterAll(() => rm(folder, { recursive: true }));

const put = async (name: string, bytes: string | Uint8Array) => {
  await writeFile(join(folder, name), bytes);
  return join(folder, name);
};

/** A chunk of a PNG file. */
function chunk(type: string, data: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), data, Buffer.alloc(4)]);
  bytes.writeUInt32BE(data.length, 0);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, bytes.length - 4)), bytes.length - 4);
  return bytes;
}

/** A PNG file that announces any size and holds next to nothing. */
function hollowPng(width: number, height: number): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  const data = deflateSync(Buffer.alloc(64));
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', data),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

test('images of other sizes, kinds and depths come out in the shape', async () => {
  const white = { create: { width: 30, height: 20, channels: 3, background: '#ffffff' } } as const;
  for (const file of [
    await sharp(white).jpeg().toBuffer(),
    await sharp(white).webp().toBuffer(),
    await sharp(white).png({ palette: true }).toBuffer(),
    await sharp(white).toColourspace('grey16').png().toBuffer(),
    await sharp({ create: { ...white.create, channels: 4, background: '#00000000' } })
      .png()
      .toBuffer(),
  ]) {
    expect(await decodeImage(file, shape)).toHaveLength(64);
    expect(Math.min(...(await decodeImage(file, shape)))).toBeGreaterThan(250);
    expect(await decodeImage(file, { ...shape, channels: 3 })).toHaveLength(192);
  }
});

test('training and inference see the same pixels, whatever a PNG says about itself', async () => {
  const shape = { height: 8, width: 8, channels: 3 } as const;
  const pixels = Uint8Array.from({ length: 192 }, (_, i) => (i * 71) % 256);
  const picture = () => sharp(pixels, { raw: shape });
  const plain = Buffer.from(await encodePng(pixels, shape));
  const withChunk = (type: string, data: Buffer) =>
    Buffer.concat([plain.subarray(0, 33), chunk(type, data), plain.subarray(33)]);
  const gamma = Buffer.alloc(4);
  gamma.writeUInt32BE(100_000);
  const exif = (orientation: number) => {
    const data = Buffer.from('4d4d002a00000008000101120003000000010000000000000000', 'hex');
    data.writeUInt16BE(orientation, 18);
    return withChunk('eXIf', data);
  };
  const files: Record<string, Buffer> = {
    plain,
    ...Object.fromEntries([1, 3, 6, 8].map((orientation) => [`eXIf ${orientation}`, exif(orientation)])),
    'linear gamma': withChunk('gAMA', gamma),
    transparent: withChunk('tRNS', Buffer.from([0, pixels[0], 0, pixels[1], 0, pixels[2]])),
    text: withChunk('tEXt', Buffer.from('Comment\0hello')),
    palette: await picture().png({ palette: true }).toBuffer(),
    interlaced: await picture().png({ progressive: true }).toBuffer(),
    '16 bits': await picture().toColourspace('rgb16').png().toBuffer(),
    grey: await picture().toColourspace('b-w').png().toBuffer(),
    alpha: await picture().ensureAlpha(0.5).png().toBuffer(),
    'display P3': await picture().withIccProfile('p3').png().toBuffer(),
  };
  for (const [name, bytes] of Object.entries(files)) {
    const path = await put(`${name}.png`, bytes);
    const bySharp = await sharp(bytes)
      .autoOrient()
      .flatten({ background: 'white' })
      .resize(8, 8, { fit: 'cover' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer();
    expect(Buffer.from(await decodeImage(bytes, shape)), name).toEqual(bySharp);
    expect(Buffer.from(await readImageFile(path, shape)), name).toEqual(bySharp);
  }
  const turned = await decodeImage(files['eXIf 3'], shape);
  expect([...turned.subarray(0, 3)]).toEqual([...pixels.subarray(189)]);
});

test('colours of print are told of, which a program without a profile sees otherwise; others are not', async () => {
  const picture = () => sharp({ create: { width: 8, height: 8, channels: 3, background: '#2060a0' } });
  const print = () => picture().toColourspace('cmyk');
  const told = [expect.stringContaining('CMYK')];
  expect(await imageNotes(await print().jpeg().toBuffer())).toEqual(told);
  expect(await imageNotes(await print().jpeg({ progressive: true }).toBuffer())).toEqual(told);
  expect(await imageNotes(await print().tiff().toBuffer())).toEqual(told);
  for (const plain of [
    await picture().jpeg().toBuffer(),
    await picture().withMetadata().jpeg({ progressive: true }).toBuffer(),
    await picture().greyscale().jpeg().toBuffer(),
    await picture().tiff().toBuffer(),
    await picture().png().toBuffer(),
    Buffer.from([0xff, 0xd8, 0xff, 0xff, 0xff]),
    Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ])
    expect(await imageNotes(plain)).toEqual([]);
});

test('grey becomes three equal channels, and colour its luminance', async () => {
  const pixels = Uint8Array.from({ length: 64 }, (_, i) => i * 4);
  const colour = await decodeImage(await encodePng(pixels, shape), { ...shape, channels: 3 });
  expect(Array.from(colour)).toEqual(Array.from(pixels).flatMap((value) => [value, value, value]));
  const red = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#ff0000' } })
    .png()
    .toBuffer();
  const grey = await decodeImage(red, shape);
  expect(grey[0]).toBeGreaterThan(40);
  expect(grey[0]).toBeLessThan(140);
});

test('a BMP file is decoded, upside down as it is stored', async () => {
  const file = Buffer.alloc(54 + 2 * 8);
  file.write('BM', 'latin1');
  for (const [at, value] of [
    [2, 70],
    [10, 54],
    [14, 40],
    [18, 2],
    [22, 2],
    [26, 1 + (24 << 16)],
  ])
    file.writeUInt32LE(value, at);
  file.set([1, 2, 3, 4, 5, 6], 54); // the lower row, blue first
  file.set([7, 8, 9, 10, 11, 12], 62);
  const pixels = await decodeImage(file, { height: 2, width: 2, channels: 3 });
  expect([...pixels]).toEqual([9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4]);
  file.writeInt32LE(1_000_000, 18);
  await expect(decodeImage(file, shape)).rejects.toMatchObject({ code: 'image-unreadable' });
  file.writeInt32LE(1_000_000, 22);
  await expect(decodeImage(file, shape)).rejects.toMatchObject({ code: 'image-too-large' });
});

test('a file that is something else is named by what it is', async () => {
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n';
  for (const [content, says] of [
    [pointer, /Git LFS pointer.*git lfs pull/],
    ['<!DOCTYPE html><html></html>', /a web page/],
    [gzipSync(await encodePng(new Uint8Array(64), shape)), /gunzip/],
  ] as const) {
    const path = await put('odd.png', content);
    await expect(readImageFile(path, shape)).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringMatching(says),
    });
  }
});

test('what cannot be an image is named', async () => {
  const code = (code: string, part: string) => ({ code, message: expect.stringContaining(part) });
  await expect(readImageFile(join(folder, 'none.png'), shape)).rejects.toMatchObject(
    code('not-found', 'none.png'),
  );
  await expect(readImageFile(folder, shape)).rejects.toMatchObject(code('not-readable', folder));
  await expect(readImageFile(await put('empty.png', ''), shape)).rejects.toMatchObject(
    code('image-empty', 'empty.png'),
  );
  await expect(readImageFile(new Uint8Array(0), shape)).rejects.toMatchObject(
    code('image-empty', 'the image'),
  );
  const text = await put('text.png', 'not an image\n');
  await expect(readImageFile(text, shape)).rejects.toMatchObject(code('image-unreadable', 'text.png'));
  const cut = (
    await sharp({ create: { width: 99, height: 99, channels: 3, background: '#fff' } })
      .png()
      .toBuffer()
  ).subarray(0, 80);
  await expect(readImageFile(await put('cut.png', cut), shape)).rejects.toMatchObject(
    code('image-unreadable', 'cut.png'),
  );
  await expect(decodeImage(cut, shape, 'the image of row 7')).rejects.toMatchObject(
    code('image-unreadable', 'row 7'),
  );
});

test('what is wrong with a JPEG file that was cut off is said once', async () => {
  const noise = { type: 'gaussian', mean: 100, sigma: 30 } as const;
  const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#fff', noise } })
    .jpeg()
    .toBuffer();
  const path = await put('cut.jpg', whole.subarray(0, 300));
  const message = await readImageFile(path, shape).then(String, String);
  expect(message.split('premature end of JPEG image')).toHaveLength(2);
  expect(message).not.toMatch(/\n|Vips/);
});

test('a TIFF file of 16 bits is read, one of floats is refused: nothing says what is white', async () => {
  const raw = { raw: { height: 2, width: 2, channels: 1 } } as const;
  const wide = sharp(Uint16Array.of(0, 65_535, 257 * 128, 257 * 64), raw).toColourspace('grey16');
  const grey = { height: 2, width: 2, channels: 1 } as const;
  expect([...(await decodeImage(await wide.tiff({ compression: 'none' }).toBuffer(), grey))]).toEqual([
    0, 255, 128, 64,
  ]);
  const floats = await sharp(Float32Array.of(0, 1, 0.5, 0.25), raw)
    .tiff({ compression: 'none' })
    .toColourspace('scrgb')
    .toBuffer();
  await expect(decodeImage(floats, grey, 'float.tif')).rejects.toThrow(
    /8 or 16 bits in float\.tif, found values of the type float/,
  );
});

test('an image of 20,000 x 20,000 pixels is refused from its header', async () => {
  const path = await put('large.png', hollowPng(20_000, 20_000));
  await expect(readImageFile(path, shape)).rejects.toMatchObject({
    code: 'image-too-large',
    message: expect.stringContaining('20000 x 20000'),
  });
});

test('a header that announces more pixels than the file can hold is refused before they are made room for', async () => {
  const bmp = Buffer.alloc(200);
  bmp.write('BM', 'latin1');
  for (const [place, value] of [
    [10, 54],
    [14, 40],
    [18, 9000],
    [22, 9000],
    [26, 1 + (24 << 16)],
  ])
    bmp.writeUInt32LE(value, place);
  for (const [name, bytes] of Object.entries({ 'lie.png': hollowPng(9000, 9000), 'lie.bmp': bmp })) {
    await expect(readImageFile(await put(name, bytes), shape)).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringMatching(/announces 9000 x 9000 pixels, more than its \d+ bytes can hold/),
    });
  }
  // One colour packs best of all, and is no lie.
  const blank = sharp({ create: { width: 6000, height: 4000, channels: 3, background: 'white' } });
  expect([...(await decodeImage(await blank.png({ compressionLevel: 9 }).toBuffer(), shape))]).toEqual(
    Array(64).fill(255),
  );
});

test('an AVIF file that announces a size which no image has is refused before libvips writes of it', async () => {
  const blank = sharp({ create: { width: 24, height: 20, channels: 3, background: 'white' } });
  const avif = await blank.avif({ effort: 0 }).toBuffer();
  expect(await decodeImage(avif, shape)).toHaveLength(64);
  avif.writeUInt32BE(2_003_683_864, avif.indexOf('ispe') + 8);
  await expect(decodeImage(avif, shape)).rejects.toMatchObject({
    code: 'image-unreadable',
    message: expect.stringContaining('2003683864 x 20'),
  });
});
