import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DatasetSource, type LabelledImage, type SplitName, splitNames } from '../source.js';
import { writeDataset } from '../write-dataset.js';
import { huggingFaceSource } from './hugging-face.js';
import { idxSource } from './idx.js';
import { imageFolderSource } from './image-folder.js';
import { splitBySeed } from './split-by-seed.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-importers-'));
});
afterAll(() => rm(root, { recursive: true }));

async function all(source: DatasetSource, split: SplitName): Promise<LabelledImage[]> {
  const images = [];
  for await (const image of source.images(split)) images.push(image);
  expect(images.length).toBe(source.count(split));
  return images;
}

/** What an image shows, whatever the order: its first pixel and its label. */
const key = ({ pixels, label }: LabelledImage) => pixels[0] * 1000 + label;
const keys = (images: readonly LabelledImage[]) => images.map(key).toSorted((a, b) => a - b);
const plain = (value: number, size = 12) =>
  sharp({ create: { width: size, height: size, channels: 3, background: { r: value, g: value, b: value } } });

test('splitBySeed divides each class by its share, keeps one for training, and repeats itself', () => {
  const fraction = fc.double({ min: 0, max: 0.45, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 4 })),
      fraction,
      fraction,
      fc.integer(),
      (labels, validation, test, seed) => {
        const splits = splitBySeed(labels, { validation, test }, seed);
        expect(splitBySeed(labels, { validation, test }, seed)).toEqual(splits);
        for (const label of new Set(labels)) {
          const of = splits.filter((_, example) => labels[example] === label);
          const share = (name: SplitName) => of.filter((split) => split === name).length;
          expect(share('train')).toBeGreaterThanOrEqual(1);
          expect(Math.abs(share('test') - test * of.length)).toBeLessThanOrEqual(1);
          expect(Math.abs(share('validation') - validation * of.length)).toBeLessThanOrEqual(1.5);
        }
      },
    ),
  );
  expect(() => splitBySeed([0], { validation: 0.5, test: 0.5 }, 1)).toThrow(/sum to less than 1/);
});

describe('imageFolderSource', () => {
  test('sorted folders are classes; every file stands in one split', async () => {
    const directory = join(root, 'photos');
    const formats = ['png', 'jpeg', 'webp'] as const;
    for (const [label, name] of ['b', 'a', 'Z', 'é'].entries()) {
      await mkdir(join(directory, name, 'more'), { recursive: true });
      for (let index = 0; index < 6; index++) {
        const format = formats[index % 3];
        const path = join(directory, name, index < 3 ? '' : 'more', `${index}.${format}`);
        await plain(label * 60 + index * 2)
          .toFormat(format, { quality: 100, lossless: true })
          .toFile(path);
      }
      await writeFile(join(directory, name, 'notes.txt'), 'not an image');
    }
    const options = { imageSize: 8, seed: 3, validationFraction: 0.2, testFraction: 0.2 };
    const source = await imageFolderSource(directory, options);
    expect(source.classes).toEqual(['Z', 'a', 'b', 'é']);
    expect(source).toMatchObject({
      image: { height: 8, width: 8, channels: 3 },
      augmentation: { kind: 'shift', pixels: 2 },
    });
    const splits = [await all(source, 'train'), await all(source, 'validation'), await all(source, 'test')];
    expect(splits.map((images) => images.length)).toEqual([16, 4, 4]);
    // JPEG may be off by a grey level: compare the class (60 levels apart) and count the distinct images.
    const written = { b: 0, a: 1, Z: 2, é: 3 };
    for (const { pixels, label } of splits.flat()) {
      expect(pixels).toHaveLength(192);
      const [name] =
        Object.entries(written).find(([, made]) => made === Math.floor((pixels[0] + 1) / 60)) ?? [];
      expect(source.classes[label]).toBe(name);
    }
    const again = await imageFolderSource(directory, options);
    expect((await all(again, 'train')).map(key)).toEqual(splits[0].map(key));
  });

  test('splits that exist are used', async () => {
    const directory = join(root, 'divided');
    for (const [split, value] of [
      ['train', 10],
      ['val', 20],
      ['test', 30],
    ] as const) {
      await mkdir(join(directory, split, 'x'), { recursive: true });
      for (let index = 0; index < 3; index++)
        await plain(value)
          .png()
          .toFile(join(directory, split, 'x', `${index}.png`));
    }
    const source = await imageFolderSource(directory, { imageSize: 8, channels: 1, seed: 1 });
    expect(keys(await all(source, 'train'))).toEqual([10_000, 10_000, 10_000]);
    expect(keys(await all(source, 'validation'))).toEqual([20_000, 20_000, 20_000]);
    expect(keys(await all(source, 'test'))).toEqual([30_000, 30_000, 30_000]);
    await mkdir(join(directory, 'test', 'y'));
    await plain(9)
      .png()
      .toFile(join(directory, 'test', 'y', '0.png'));
    await expect(imageFolderSource(directory, { imageSize: 8, seed: 1 })).rejects.toMatchObject({
      code: 'dataset-invalid',
    });
  });

  test('files that are no images stop the import with all their names, or are left out', async () => {
    const directory = join(root, 'broken');
    await mkdir(join(directory, 'x'), { recursive: true });
    for (const name of ['bad', 'worse']) await writeFile(join(directory, 'x', `${name}.png`), 'text');
    await plain(9)
      .png()
      .toFile(join(directory, 'x', 'good.png'));
    const read = async (onError: 'stop' | 'skip') => {
      const source = await imageFolderSource(directory, { imageSize: 8, seed: 1, onError });
      const images = [];
      for (const split of splitNames) for await (const image of source.images(split)) images.push(image);
      return { images, report: source.report?.() };
    };
    await expect(read('stop')).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringMatching(/2 images cannot be read.*--on-error skip.*bad\.png.*worse\.png/s),
    });
    const { images, report } = await read('skip');
    expect(images.map(key)).toEqual([9000]);
    expect(report?.leftOut).toEqual([
      {
        what: 'images that cannot be read (image-unreadable)',
        count: 2,
        example: join(directory, 'x', 'bad.png'),
      },
    ]);
    await expect(imageFolderSource(join(root, 'absent'), { imageSize: 8, seed: 1 })).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

describe('idxSource', () => {
  /** Image r of a part is filled with r; its label is r mod 3. */
  function idxFiles(part: string, count: number): [string, Buffer][] {
    const header = (...words: number[]) => Buffer.from(Uint32Array.from(words).buffer).swap32();
    const pixels = Buffer.alloc(count * 20, 0);
    for (let row = 0; row < count; row++) pixels.fill(row, row * 20, (row + 1) * 20);
    const labels = Buffer.from(Array.from({ length: count }, (_, row) => row % 3));
    return [
      [`${part}-images-idx3-ubyte`, Buffer.concat([header(0x803, count, 4, 5), pixels])],
      [`${part}-labels-idx1-ubyte`, Buffer.concat([header(0x801, count), labels])],
    ];
  }

  test.each([false, true])('reads the four files, gzipped: %s', async (gzipped) => {
    const directory = await mkdtemp(join(root, 'idx-'));
    for (const [name, bytes] of [...idxFiles('train', 90), ...idxFiles('t10k', 12)]) {
      await writeFile(join(directory, gzipped ? `${name}.gz` : name), gzipped ? gzipSync(bytes) : bytes);
    }
    const source = await idxSource(directory, { seed: 5, validationFraction: 0.2 });
    expect(source).toMatchObject({ classes: ['0', '1', '2'], image: { height: 4, width: 5, channels: 1 } });
    const [train, validation] = [await all(source, 'train'), await all(source, 'validation')];
    expect(validation.length).toBe(18);
    const expected = (count: number) => Array.from({ length: count }, (_, row) => row * 1000 + (row % 3));
    expect(keys([...train, ...validation])).toEqual(expected(90));
    expect(keys(await all(source, 'test'))).toEqual(expected(12));
    expect(train.map(key)).not.toEqual(keys(train));
  });

  test('files that are short, or of another kind, are named', async () => {
    const directory = await mkdtemp(join(root, 'idx-'));
    const files = [...idxFiles('train', 30), ...idxFiles('t10k', 6)];
    for (const [name, bytes] of files) await writeFile(join(directory, name), bytes);
    await writeFile(join(directory, files[0][0]), files[0][1].subarray(0, 200));
    const source = await idxSource(directory, { seed: 1 });
    await expect(all(source, 'train')).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringContaining(files[0][0]),
    });
    await writeFile(join(directory, files[1][0]), files[1][1].subarray(0, 20));
    await expect(idxSource(directory, { seed: 1 })).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringContaining(files[1][0]),
    });
    await rm(join(directory, files[3][0]));
    await writeFile(join(directory, files[1][0]), files[1][1]);
    await expect(idxSource(directory, { seed: 1 })).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('huggingFaceSource', () => {
  const made: DatasetSource = {
    description: 'Flat images',
    classes: ['x', 'y', 'z'],
    image: { height: 6, width: 6, channels: 1 },
    augmentation: { kind: 'none' },
    count: (split) => ({ train: 200, validation: 20, test: 40 })[split],
    images: async function* (split) {
      for (let row = 0; row < made.count(split); row++)
        yield { pixels: new Uint8Array(36).fill(row), label: row % 3 };
    },
  };

  test('reads a DatasetDict and a single Dataset (what Python writes is checked in test/python)', async () => {
    const directory = join(root, 'hub');
    await writeDataset(directory, made, { shardBytes: 4000 });
    const options = { imageSize: 6, channels: 1, seed: 2 } as const;
    const whole = await huggingFaceSource(directory, options);
    expect(whole.classes).toEqual(made.classes);
    for (const split of ['train', 'validation', 'test'] as const) {
      const images = await all(whole, split);
      expect(keys(images)).toEqual(
        Array.from({ length: made.count(split) }, (_, row) => row * 1000 + (row % 3)),
      );
    }
    await cp(join(directory, 'train'), join(root, 'single'), { recursive: true });
    const single = await huggingFaceSource(join(root, 'single'), { ...options, imageSize: 9 });
    // Classes of 67, 67 and 66 images, a tenth of each rounded: 7 + 7 + 7.
    const parts = [await all(single, 'train'), await all(single, 'validation'), await all(single, 'test')];
    expect(parts.map((images) => images.length)).toEqual([158, 21, 21]);
    expect(new Set(parts.flat().map(key)).size).toBe(200);
    expect(parts[0][0].pixels).toHaveLength(81);
  });

  test('a column that is not there is named', async () => {
    const directory = join(root, 'hub');
    const wrong = huggingFaceSource(directory, { imageSize: 6, seed: 2, imageColumn: 'photo' });
    await expect(wrong).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringContaining('image'),
    });
    await expect(huggingFaceSource(root, { imageSize: 6, seed: 2 })).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});
