import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeImage, encodePng, readImageFile } from './image-codec.js';

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

test('an image of 20,000 x 20,000 pixels is refused from its header', async () => {
  const path = await put('large.png', hollowPng(20_000, 20_000));
  await expect(readImageFile(path, shape)).rejects.toMatchObject({
    code: 'image-too-large',
    message: expect.stringContaining('20000 x 20000'),
  });
});
