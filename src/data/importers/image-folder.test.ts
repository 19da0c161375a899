import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { animatedPng } from '../../../test/support/made-inputs.js';
import type { ImportReport } from '../import-report.js';
import { type DatasetSource, splitNames } from '../source.js';
import { imageFolderSource } from './image-folder.js';

let root: string;
let png: Buffer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-folder-'));
  png = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#123456' } })
    .png()
    .toBuffer();
});
afterAll(() => rm(root, { recursive: true }));

let made = 0;
/** A folder with these files; a text is a file's content, a number that many images, `->` a link. */
async function tree(files: Readonly<Record<string, string | Buffer | number>>): Promise<string> {
  const directory = join(root, String(made++));
  await mkdir(directory);
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    if (typeof content === 'number') {
      await mkdir(path, { recursive: true });
      for (let k = 0; k < content; k++) await writeFile(join(path, `${k}.png`), png);
    } else if (typeof content === 'string' && content.startsWith('-> ')) {
      await symlink(content.slice(3), path);
    } else await writeFile(path, content);
  }
  return directory;
}

const open = (directory: string, more = {}) =>
  imageFolderSource(directory, { imageSize: 8, seed: 1, ...more });
const sizes = (source: DatasetSource) => splitNames.map((split) => source.count(split));
const leftOut = (source: DatasetSource) => counts(source, 'leftOut');
const notes = (source: DatasetSource) => counts(source, 'notes');
const counts = (source: DatasetSource, part: keyof ImportReport) =>
  Object.fromEntries((source.report?.()[part] ?? []).map(({ what, count }) => [what, count]));

test('links to class folders, parts and files are followed; loops and links to nowhere are left out', async () => {
  const directory = await tree({
    'real/elm': 3,
    'real/oak': 3,
    'photos/ash': 3,
    'photos/elm': '-> ../real/elm',
    'photos/ash/link.png': '-> ../../real/oak/0.png',
    'photos/ash/gone.png': '-> nowhere.png',
    'photos/ash/up': '-> ..',
    'photos/ash/self': '-> self',
    'photos/ash/other': '-> ../../real/elm',
    'photos/same': '-> ash',
  });
  const source = await open(join(directory, 'photos'));
  expect(source.classes).toEqual(['ash', 'elm']);
  expect(sizes(source).reduce((a, b) => a + b)).toBe(7);
  expect(leftOut(source)).toEqual({
    'links that lead nowhere': 2,
    'links to a folder that is taken already, or that lies above': 2,
    'class folders that are links to the folder of another class': 1,
  });
  const parts = await tree({
    'real/a': 2,
    'real/b': 2,
    'set/val/a': 1,
    'set/val/b': 1,
    'set/train': '-> ../real',
  });
  expect(sizes(await open(join(parts, 'set'), { testFraction: 0 }))).toEqual([4, 2, 0]);
});

test.each([
  ['train', 'val', 'test'],
  ['Training', 'VALID', 'Testing'],
  ['TRAIN', 'dev', 'test'],
  ['training', 'Eval', 'TEST'],
  ['train', 'validation', 'testing'],
])('parts named %s, %s and %s are parts', async (train, validation, test) => {
  const source = await open(await tree({ [`${train}/a`]: 3, [`${validation}/a`]: 2, [`${test}/a`]: 1 }));
  expect(source.classes).toEqual(['a']);
  expect(sizes(source)).toEqual([3, 2, 1]);
});

test('names of parts that clash, or that leave out train, are refused', async () => {
  const clash = await tree({ 'train/a': 1, 'val/a': 1, 'valid/a': 1 });
  await expect(open(clash)).rejects.toThrow(/val and valid both mean the validation part/);
  const untrained = await tree({ 'test/a': 1, 'val/a': 1 });
  await expect(open(untrained)).rejects.toThrow(/expected a folder train beside test, val/);
  const flat = await tree({ train: 3, test: 3 });
  await expect(open(flat)).rejects.toThrow(/train, found 3 images and no folder/);
  const doubtful = await tree({ 'train/steam': 2, bus: 2, car: 2 });
  await expect(open(doubtful)).rejects.toThrow(/is it a part or a class\?/);
});

test('a folder of images and a table of another name than metadata: the table is to be named', async () => {
  const directory = await tree({ 'a.png': png, 'list.csv': 'file,label\na.png,x\n' });
  await expect(open(directory)).rejects.toThrow(/found none: if list\.csv lists.*--source .*list\.csv/);
});

test('a class may be called train, or test', async () => {
  expect((await open(await tree({ train: 2, bus: 2, car: 2 }))).classes).toEqual(['bus', 'car', 'train']);
  expect((await open(await tree({ test: 2, exam: 2 }))).classes).toEqual(['exam', 'test']);
  const both = await tree({ train: 2, test: 2, bus: 2, car: 2 });
  expect((await open(both)).classes).toEqual(['bus', 'car', 'test', 'train']);
});

test('parts without labels or images are set aside from train, and counted', async () => {
  const source = await open(
    await tree({
      'train/a': 20,
      'train/b': 20,
      test: 5,
      'val/a/notes.txt': 'x',
      'extra/a': 2,
      'train/x.png': png,
    }),
  );
  expect(sizes(source)).toEqual([32, 4, 4]);
  expect(leftOut(source)).toEqual({
    'files that are no images (.txt)': 1,
    'folders beside train that are no part': 1,
    'images beside class folders, of no class': 1,
    'images of a part that has no class folders, so that they have no labels': 5,
  });
  expect(notes(source)).toEqual({
    'a part without labelled images: test is set aside from train': 1,
    'a part without labelled images: validation is set aside from train': 1,
  });
});

test('wrappers are entered, nested folders are merged, both with a word', async () => {
  const wrapped = await open(await tree({ 'set/photos/a': 2, 'set/photos/b': 2 }));
  expect(wrapped.classes).toEqual(['a', 'b']);
  expect(notes(wrapped)).toEqual({ 'a folder that holds nothing but a folder was entered': 2 });
  const nested = await open(await tree({ 'animal/cat': 2, 'animal/dog': 2, 'plant/rose': 1 }));
  expect(nested.classes).toEqual(['animal', 'plant']);
  expect(Object.entries(notes(nested))).toEqual([[expect.stringMatching(/hold folders alone/), 5]]);
  const mixed = await open(await tree({ a: 2, 'a/more': 3, b: 1 }));
  expect(Object.entries(notes(mixed))).toEqual([[expect.stringMatching(/below a class/), 3]]);
});

test('all formats are taken, by name in any case or by content; others are counted by their endings', async () => {
  const of = (format: 'jpeg' | 'webp' | 'gif' | 'tiff' | 'avif') => sharp(png).toFormat(format).toBuffer();
  const bmp = Buffer.alloc(58);
  bmp.write('BM', 'latin1');
  for (const [at, value] of [
    [2, 58],
    [10, 54],
    [14, 40],
    [18, 1],
    [22, 1],
    [26, 1 + (24 << 16)],
  ])
    bmp.writeUInt32LE(value, at);
  const source = await open(
    await tree({
      'a/1.PNG': png,
      'a/2.JPeG': await of('jpeg'),
      'a/3.webp': await of('webp'),
      'a/4.GIF': await of('gif'),
      'a/5.tif': await of('tiff'),
      'a/6.avif': await of('avif'),
      'a/7.bmp': bmp,
      'a/8': png,
      'a/9.jpg.download': await of('jpeg'),
      'a/x.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>',
      'a/photo.heic': 'x',
      'a/notes.txt': 'x',
      'a/README': 'x',
      'a/.DS_Store': 'x',
      'a/Thumbs.db': 'x',
      'b/only.heic': 'x',
      '__MACOSX/a/._1.png': 'x',
      '.git/x.png': png,
    }),
    { validationFraction: 0, testFraction: 0 },
  );
  expect(source.classes).toEqual(['a']);
  const images = [];
  for await (const image of source.images('train')) images.push(image);
  expect(images).toHaveLength(10);
  expect(leftOut(source)).toEqual({
    'hidden and system files': 4,
    'images of a format that cannot be read (.heic): convert them': 2,
    'files that are no images (.txt)': 1,
    'files that are no images': 1,
    'classes without an image that can be read': 1,
  });
});

test('the two Unicode forms of a name are one class; names that differ in case are named', async () => {
  const source = await open(await tree({ 'caf\u00e9': 2, 'cafe\u0301': 3, Oak: 1, oak: 1 }), {
    validationFraction: 0,
    testFraction: 0,
  });
  expect(source.classes).toEqual(['Oak', 'caf\u00e9', 'oak']);
  expect(source.count('train')).toBe(7);
  expect(notes(source)).toEqual({
    'classes whose names differ only in the case of letters': 1,
    'folders whose names are two Unicode forms of one name, taken for one class': 1,
  });
  const [form] = source.report?.().notes.filter(({ isWarning }) => isWarning) ?? [];
  for (const name of ['"caf\\u00e9"', '"cafe\\u0301"']) expect(form.example).toContain(name);
  const parts = await open(
    await tree({ 'train/Oak': 2, 'train/\u00e9': 2, 'test/oak': 1, 'test/e\u0301': 1 }),
  );
  expect(parts.count('test')).toBe(2);
  expect(notes(parts)).toEqual({ 'folders whose class has another case of letters in train': 1 });
  await expect(open(await tree({ 'train/Oak': 2, 'train/oak': 2, 'test/OAK': 1 }))).rejects.toThrow(
    /such as OAK/,
  );
});

test('the first image of animations and of files with pages is taken, with a word; single images need none', async () => {
  const frames = (count: number) =>
    sharp(Buffer.alloc(count * 8 * 8 * 3, 9).fill(200, 8 * 8 * 3), {
      raw: { width: 8, height: 8 * count, channels: 3, pageHeight: 8 },
    });
  const files: Record<string, Buffer | number> = { oak: 3 };
  for (const format of ['gif', 'webp', 'tiff'] as const) {
    files[`ash/moving.${format}`] = await frames(2).toFormat(format).toBuffer();
    files[`ash/still.${format}`] = await frames(1).toFormat(format).toBuffer();
  }
  files['ash/moving.png'] = animatedPng(png);
  const source = await open(await tree(files));
  const pixels: number[] = [];
  for (const split of splitNames)
    for await (const image of source.images(split)) if (image.label === 0) pixels.push(image.pixels[0]);
  expect(pixels).toHaveLength(7);
  expect(notes(source)).toEqual({
    'animations or files of several pages, of which the first image was taken': 4,
  });
  // What came first is dark; the background of the animated PNG is another colour.
  expect(pixels.filter((value) => Math.abs(value - 9) < 4)).toHaveLength(6);
});

test('groups: an expression that matches nothing is refused; images without one, and torn groups, are warned of', async () => {
  const directory = await tree({ 'train/a': 12, 'train/b': 12, 'test/a': 2 });
  await expect(open(directory, { group: 'vendor([0-9]+)' })).rejects.toMatchObject({
    code: 'option-invalid',
    message: expect.stringMatching(/none for any of 26, such as a\/0\.png: the expression has to match/),
  });
  const partly = await open(directory, { group: '^a/([0-9])' });
  expect(partly.report?.().notes.filter(({ isWarning }) => isWarning)).toEqual([
    {
      what: 'images without a group, each taken for one of its own',
      count: 12,
      example: 'b/0.png',
      isWarning: true,
    },
    {
      what: 'groups that the source itself has on both sides of a split',
      count: 2,
      example: '0',
      isWarning: true,
    },
  ]);
  const few = await open(directory, { group: '([0-9]+)[.]png$' });
  expect(few.report?.().notes.map(({ what }) => what)).not.toContain(
    'images without a group, each taken for one of its own',
  );
});
