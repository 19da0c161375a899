import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Log } from '../../core/log.js';
import { silentLog } from '../../core/log.js';
import type { DatasetSource, LabelledImage, SplitName } from '../source.js';
import { readDesigns } from './designs.js';
import { type HanOptions, hanSource } from './han-source.js';

// All but zcool-kuaile are Japanese: each side has characters that the other lacks.
const fonts = ['stick', 'dotgothic16', 'zcool-kuaile', 'yomogi', 'zen-antique'].map(
  (id) => `@fontsource/${id}`,
);

const options: HanOptions = {
  classes: 12,
  imageSize: 24,
  fonts,
  minimumDesigns: 3,
  codePoints: [0x4e00, 0x4e40],
  validationDesigns: 1,
  testDesigns: 1,
  copies: 2,
  seed: 1,
};

async function imagesOf(source: DatasetSource, split: SplitName): Promise<LabelledImage[]> {
  const images: LabelledImage[] = [];
  for await (const image of source.images(split)) images.push(image);
  return images;
}

const byLabel = (a: LabelledImage, b: LabelledImage) =>
  a.label - b.label || Buffer.compare(Buffer.from(a.pixels), Buffer.from(b.pixels));

test('classes are the first characters that enough designs have, with their names', async () => {
  const source = await hanSource(options);
  const designs = await readDesigns(fonts, [0x4e00, 0x4e40], process.cwd());
  const expected: string[] = [];
  for (let codePoint = 0x4e00; expected.length < 12; codePoint++) {
    const has = designs.filter((design) => design.fileOf[codePoint - 0x4e00] !== 0);
    if (has.length >= 3)
      expected.push(`${String.fromCodePoint(codePoint)} U+${codePoint.toString(16).toUpperCase()}`);
  }
  expect(source.classes).toEqual(expected);
  expect(source.classes[0]).toBe('一 U+4E00');
});

test('each split holds one image, or one a copy, of each design that has the character', async () => {
  const source = await hanSource(options);
  const designs = await readDesigns(fonts, [0x4e00, 0x4e40], process.cwd());
  const labelled = source.classes.map((name) => Number.parseInt(name.slice(4), 16));
  const covering = (part: typeof designs) =>
    labelled.map((codePoint) => part.filter((design) => design.fileOf[codePoint - 0x4e00] !== 0).length);
  for (const [split, part, copies] of [
    ['train', designs.slice(0, 3), 1],
    ['validation', designs.slice(3, 4), 2],
    ['test', designs.slice(4), 1],
  ] as const) {
    const images = await imagesOf(source, split);
    expect(images.length).toBe(source.count(split));
    const counts = labelled.map((_, label) => images.filter((image) => image.label === label).length);
    expect(counts).toEqual(covering(part).map((count) => copies * count));
  }
});

test('images are the same for the same seed, in an order that mixes classes; another seed degrades them in another way', async () => {
  const [first, again, other] = [
    await hanSource(options),
    await hanSource(options),
    await hanSource({ ...options, seed: 2 }),
  ];
  for (const split of ['train', 'validation', 'test'] as const) {
    const images = await imagesOf(first, split);
    expect(await imagesOf(again, split)).toEqual(images);
    expect(images.map((image) => image.label)).not.toEqual(
      images.map((image) => image.label).sort((a, b) => a - b),
    );
    const others = await imagesOf(other, split);
    if (split === 'train') expect(others.sort(byLabel)).toEqual(images.sort(byLabel));
    else expect(others.sort(byLabel)).not.toEqual(images.sort(byLabel));
  }
  expect(other.classes).toEqual(first.classes);
});

test('copies differ; at strength 0 they are the clean glyph', async () => {
  const copiesOf = async (strength: number) =>
    (await imagesOf(await hanSource({ ...options, strength }), 'validation')).filter(
      ({ label }) => label === 0,
    );
  const [one, two] = await copiesOf(1);
  expect(one.pixels).not.toEqual(two.pixels);
  const [clean, same] = await copiesOf(0);
  expect(clean.pixels).toEqual(same.pixels);
});

test('every clean glyph has ink, is centred, and differs from the others of its split', async () => {
  const images = await imagesOf(await hanSource(options), 'train');
  const pictures = new Set(images.map(({ pixels }) => pixels.join()));
  expect(pictures.size).toBe(images.length);
  let [x, y] = [0, 0];
  for (const { pixels } of images) {
    const inks = Array.from(pixels, (value) => 255 - value); // black on white
    const ink = inks.reduce((sum, value) => sum + value, 0);
    expect(ink).toBeGreaterThan(255 * 12);
    expect(ink).toBeLessThan(255 * 24 * 24 * 0.6);
    x += inks.reduce((sum, value, at) => sum + value * ((at % 24) + 0.5), 0) / ink / images.length;
    y += inks.reduce((sum, value, at) => sum + value * (Math.floor(at / 24) + 0.5), 0) / ink / images.length;
  }
  expect(Math.abs(x - 12)).toBeLessThan(1.5); // pixels
  expect(Math.abs(y - 12)).toBeLessThan(1.5);
});

test('a font that lacks a character never yields a picture of it', async () => {
  // Asking for one design takes every character that any of them has.
  const list = ['@fontsource/dela-gothic-one', ...fonts];
  const source = await hanSource({ ...options, fonts: list, classes: 40, minimumDesigns: 1 });
  const designs = await readDesigns(list, [0x4e00, 0x4e40], process.cwd());
  const covered = (first: number, end: number) =>
    source.classes.reduce(
      (sum, name) =>
        sum +
        designs
          .slice(first, end)
          .filter(({ fileOf }) => fileOf[Number.parseInt(name.slice(4), 16) - 0x4e00] !== 0).length,
      0,
    );
  expect(covered(0, 6)).toBeLessThan(6 * 40);
  expect(source.count('train')).toBe(covered(0, 4));
  expect(source.count('test')).toBe(covered(5, 6));
});

test('missing packages are named with the command that installs them', async () => {
  const list = [...fonts, '@fontsource/not-there', ['@fontsource/nor-there', '@fontsource/stick']];
  await expect(hanSource({ ...options, fonts: list })).rejects.toMatchObject({
    code: 'font-unusable',
    message: expect.stringContaining('npm install @fontsource/not-there @fontsource/nor-there'),
  });
});

test('too few characters: the error says how many classes are possible, and that many are', async () => {
  const asked = { ...options, classes: 500 };
  const failure = await hanSource(asked).catch((error: Error & { code?: string }) => error);
  expect(failure).toMatchObject({ code: 'font-unusable' });
  const possible = Number(
    /ask for at most (\d+) classes/.exec('message' in failure ? failure.message : '')?.[1],
  );
  expect(possible).toBeGreaterThan(12);
  expect((await hanSource({ ...asked, classes: possible })).classes).toHaveLength(possible);
});

test('a font that cannot be read, an empty folder, a path to nothing and too few designs are named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-fonts-'));
  await mkdir(join(folder, 'empty'));
  await writeFile(join(folder, 'broken.ttf'), 'not a font');
  const tryFonts = (entry: string) => hanSource({ ...options, fonts: [...fonts, join(folder, entry)] });
  for (const [entry, words] of [
    ['broken.ttf', 'broken.ttf cannot be read'],
    ['empty', 'found none'],
    ['absent.otf', 'there is nothing at'],
  ]) {
    await expect(tryFonts(entry)).rejects.toMatchObject({
      code: 'font-unusable',
      message: expect.stringContaining(words),
    });
  }
  await expect(hanSource({ ...options, testDesigns: 4 })).rejects.toMatchObject({
    code: 'font-unusable',
    message: expect.stringContaining('at least 6 designs'),
  });
});

test('options out of range are named', async () => {
  for (const wrong of [
    { classes: 1 },
    { imageSize: 7.5 },
    { minimumDesigns: 0 },
    { codePoints: [0x5000, 0x4e00] as const },
    { copies: 0 },
    { strength: -1 },
    { strength: Number.NaN },
    { testDesigns: 0 },
  ]) {
    await expect(hanSource({ ...options, ...wrong })).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringContaining(Object.keys(wrong)[0]),
    });
  }
});

test('a font folder is found from the folder that relative paths start in, and split is by family', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-fonts-'));
  const messages: string[] = [];
  const log: Log = { ...silentLog, info: (message) => messages.push(message) };
  for (const id of ['stick', 'yomogi', 'zen-antique']) {
    await mkdir(join(folder, 'fonts', id), { recursive: true });
    for (const part of [110, 111, 112, 113]) {
      const file = `${id}-${part}-400-normal.woff2`;
      await symlink(
        join(process.cwd(), 'node_modules', '@fontsource', id, 'files', file),
        join(folder, 'fonts', id, file),
      );
    }
  }
  const source = await hanSource({
    ...options,
    codePoints: [0x4e00, 0x9fff],
    fonts: ['fonts'],
    folder,
    log,
  });
  expect(source.count('train')).toBe(12);
  expect(messages[0]).toContain('test designs Zen Antique');
});
