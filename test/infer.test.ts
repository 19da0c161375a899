import files, { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { type Finished, jsonOf, kdSpec, kdSpecProcess } from './fixtures/command-line.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';
import { vastPng } from './support/vast-png.js';

/** `infer` with every kind of file that people have, good and bad. */
let folder: string;
let png: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-infer-'));
  const workspace = join(tinyFolder(), 'kd-workspace');
  await symlink(workspace, join(folder, 'kd-workspace'));
  const { splits } = await openDataset(join(workspace, 'dataset'));
  for await (const { bytes } of examples(splits.test)) {
    png = Buffer.from(bytes);
    break;
  }
  await mkdir(join(folder, 'photos', 'more'), { recursive: true });
  const large = await sharp(png).resize(48, 48, { kernel: 'nearest' }).toColourspace('srgb').png().toBuffer();
  await writeFile(join(folder, 'image.png'), png);
  await writeFile(join(folder, 'photos', 'b.jpg'), await sharp(large).jpeg({ quality: 95 }).toBuffer());
  const colour = sharp(png).toColourspace('srgb');
  await colour.webp({ lossless: true }).toFile(join(folder, 'photos', 'a.webp'));
  await colour.png().toFile(join(folder, 'photos', 'more', 'c.PNG'));
  await writeFile(join(folder, 'photos', 'notes.txt'), 'no image');
  await writeFile(join(folder, 'text.png'), 'A text that calls itself an image.\n'.repeat(50));
  await writeFile(join(folder, 'empty.png'), '');
  await writeFile(join(folder, 'cut.png'), png.subarray(0, png.length - 40));
  await writeFile(join(folder, 'cut.jpg'), (await sharp(large).jpeg().toBuffer()).subarray(0, 300));
  await writeFile(join(folder, 'vast.png'), vastPng(20_000));
  await mkdir(join(folder, 'nothing'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const infer = (words: string) => kdSpec(['infer', ...words.split(' ')], { folder });
/** Standard input belongs to a process. */
const inferFrom = (input: Uint8Array, words: string) =>
  kdSpecProcess(['infer', ...words.split(' ')], { folder, input });

function expectAnswer(image: { [key: string]: unknown }, top = 5) {
  for (const who of ['generalist', 'ensemble']) {
    const ranked = image[who] as { index: number; class: string; probability: number }[];
    expect(ranked).toHaveLength(top);
    for (const [rank, answer] of ranked.entries()) {
      expect(Object.keys(answer)).toEqual(['index', 'class', 'probability']);
      expect(answer.class).toMatch(/^f\d+\/c\d+$/);
      expect(answer.probability).toBeLessThanOrEqual(ranked[Math.max(0, rank - 1)].probability);
    }
  }
  for (const specialist of image.specialists as { [key: string]: unknown }[]) {
    expect(specialist).toEqual({
      id: expect.any(Number),
      dustbin: expect.any(Number),
      top: expect.any(Array),
    });
  }
}

test('PNG, JPEG, WebP, a folder and standard input give answers, and the same picture the same answer', async () => {
  const { images, errors } = jsonOf(await inferFrom(png, '--image image.png photos - --top 5 --json'));
  expect(errors).toBeUndefined();
  expect(images.map(({ path }: { path: string }) => path)).toEqual([
    'image.png',
    join('photos', 'a.webp'),
    join('photos', 'b.jpg'),
    join('photos', 'more', 'c.PNG'),
    '-',
  ]);
  for (const image of images) {
    expect(Object.keys(image)).toEqual(['path', 'generalist', 'ensemble', 'specialists']);
    expectAnswer(image);
  }
  const [file, webp, , colour, stdin] = images;
  expect(stdin).toEqual({ ...file, path: '-' });
  expect(webp.ensemble).toEqual(colour.ensemble);
});

test('a person sees both answers by name', async () => {
  const { code, stdout, stderr } = await infer('image.png --top 2');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^image\.png\n +generalist +ensemble\n1 +f\d+\/c\d+ +\d+\.\d% +f\d+\/c\d+ /);
  expect(stdout).toMatch(/specialist/);
});

const bad = [
  ['text.png', 'image-unreadable', 'expected an image in text.png, but it cannot be decoded'],
  ['empty.png', 'image-empty', 'expected an image in empty.png, found 0 bytes'],
  ['vast.png', 'image-too-large', 'its header announces 20000 x 20000'],
  ['none.png', 'not-found', 'none.png, where an image should be'],
  ['cut.png', 'image-unreadable', 'cut.png'],
  ['cut.jpg', 'image-unreadable', 'cut.jpg'],
  ['nothing', 'not-found', 'expected images in nothing, found'],
] as const;

test('the first image of an animation is classified, with a word', async () => {
  const frames = sharp(Buffer.alloc(2 * 16 * 16 * 3, 99).fill(9, 16 * 16 * 3), {
    raw: { width: 16, height: 32, channels: 3, pageHeight: 16 },
  });
  await writeFile(join(folder, 'moving.gif'), await frames.gif().toBuffer());
  const answer = await infer('image.png moving.gif --json');
  const what = 'animations or files of several pages, of which the first image was taken';
  expect(JSON.parse(answer.stdout).notes).toEqual([{ what, count: 1, example: 'moving.gif' }]);
  expect(answer.stderr).toBe(`warning: 1 ${what}, such as moving.gif\n`);
});

test('a file is read once, and one more time where its error is told', async () => {
  const reads: unknown[] = [];
  const spy = vi.spyOn(files, 'readFile');
  syncBuiltinESMExports();
  try {
    expect((await infer('image.png photos cut.png --json')).code).toBe(1);
    reads.push(...spy.mock.calls.map(([path]) => path));
  } finally {
    spy.mockRestore();
    syncBuiltinESMExports();
  }
  const times = (name: string) => reads.filter((path) => path === name).length;
  for (const name of ['image.png', join('photos', 'a.webp'), join('photos', 'b.jpg')])
    expect(times(name), name).toBe(1);
  expect(times('cut.png')).toBe(2);
});

test('bad images end with 1, each with its code and a reason', async () => {
  const answer = await kdSpec(['infer', ...bad.map(([path]) => path), '--json'], { folder });
  expect(answer.code).toBe(1);
  const { images, errors } = JSON.parse(answer.stdout);
  expect(images).toEqual([]);
  expect(errors).toEqual(
    bad.map(([path, code, reason]) => ({ path, code, message: expect.stringContaining(reason) })),
  );
});

test('one bad image alone is the error itself', async () => {
  const { code, stdout, stderr } = await infer('--image cut.png');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^error: .*cut\.png.*\ncode: image-unreadable\n$/);
});

test('a bad image among good ones is named, takes no answer from them, and the end is 1', async () => {
  const words = '--image image.png empty.png photos text.png --json';
  const answer: Finished = await infer(words);
  expect(answer.code).toBe(1);
  const { images, errors } = JSON.parse(answer.stdout);
  expect(images).toHaveLength(4);
  for (const image of images) expectAnswer(image);
  expect(errors).toEqual([
    { path: 'empty.png', code: 'image-empty', message: expect.stringContaining('empty.png') },
    { path: 'text.png', code: 'image-unreadable', message: expect.stringContaining('text.png') },
  ]);
  expect(answer.stderr).toMatch(/warning: .*empty\.png.*\(image-empty\)\nwarning: .*text\.png/);
  expect(answer.stderr).toContain('error: 2 of 6 images could not be classified');

  const one = await infer('-- image.png empty.png');
  expect(one.code).toBe(1);
  expect(one.stdout).toMatch(/^image\.png\n/);
  expect(one.stderr).toMatch(/^error: .*empty\.png.*\ncode: image-empty\n$/);
});

test('a folder of more images than are asked about at once has an answer for each but the bad one', async () => {
  const many = join(folder, 'many');
  await mkdir(many);
  for (let index = 0; index < 300; index++) await writeFile(join(many, `${1000 + index}.png`), png);
  await writeFile(join(many, '1280.png'), 'no image');
  const { code, stdout } = await infer('--image many --json');
  expect(code).toBe(1);
  const { images, errors } = JSON.parse(stdout);
  expect(errors).toMatchObject([{ path: join('many', '1280.png'), code: 'image-unreadable' }]);
  expect(images).toHaveLength(299);
  for (const image of images) expect({ ...image, path: '' }).toEqual({ ...images[0], path: '' });
});

test('standard input that is empty is called by its name', async () => {
  expect((await inferFrom(Buffer.alloc(0), '--image -')).stderr).toMatch(
    /^error: .*standard input.*\ncode: image-empty\n$/,
  );
});

test('a workspace without an ensemble is told how to make one', async () => {
  const empty = await infer('image.png --workspace nothing');
  expect(empty).toMatchObject({ code: 1, stdout: '' });
  expect(empty.stderr).toMatch(/kd-spec (run|calibrate)/);
  expect(await readFile(join(folder, 'image.png'))).toEqual(png);
});
