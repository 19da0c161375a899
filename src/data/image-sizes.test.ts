import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commonSize, imageSizes } from './image-sizes.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-sizes-'));
});
afterAll(() => rm(root, { recursive: true }));

const picture = (path: string, width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: 'red' } }).toFile(path);

test('the size of all images of a folder, where they have one; files that cannot be read do not count', async () => {
  const folder = join(root, 'photos');
  await mkdir(join(folder, 'oak'), { recursive: true });
  await mkdir(join(folder, 'ash'));
  expect(await commonSize(folder)).toBeUndefined();
  await picture(join(folder, 'oak', '0.png'), 32, 24);
  await picture(join(folder, 'ash', '0.jpg'), 32, 24);
  await writeFile(join(folder, 'ash', 'broken.png'), 'nothing');
  expect(await commonSize(folder)).toEqual({ height: 24, width: 32 });
  await picture(join(folder, 'ash', '1.png'), 32, 32);
  expect(await imageSizes(folder)).toHaveLength(3);
  expect(await commonSize(folder)).toBeUndefined();
  expect(await commonSize(join(folder, 'none'))).toBeUndefined();
});
