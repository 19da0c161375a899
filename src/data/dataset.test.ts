import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { indexShard } from './arrow-shard.js';
import { imageBatches } from './batches.js';
import { type Dataset, openDataset, verifySplit } from './dataset.js';
import { type ExampleOptions, examples } from './examples.js';
import { decodeImage } from './image-codec.js';
import type { DatasetSource, LabelledImage, SplitName } from './source.js';
import { writeDataset } from './write-dataset.js';

const image = { height: 6, width: 5, channels: 1 } as const;
const counts: Readonly<Record<SplitName, number>> = { train: 1600, validation: 0, test: 40 };
const shardBytes = 13_000;

/** Row r of a split has the pixels and label that (split, r) decide. */
function madeImage(split: SplitName, row: number): LabelledImage {
  const random = createRandom(split, row);
  return { pixels: Uint8Array.from({ length: 30 }, () => random.below(256)), label: random.below(7) };
}

const source: DatasetSource = {
  description: 'Noise',
  classes: ['zero', 'one', '二', 'three, or so', '"four"', 'five', 'six'],
  image,
  augmentation: { kind: 'degrade', strength: 0.5 },
  count: (split) => counts[split],
  images: async function* (split) {
    for (let row = 0; row < counts[split]; row++) yield madeImage(split, row);
  },
  ceiling: async () => ({ top1: 0.9, standardError: 0.01, examples: 100 }),
};

let root: string;
let dataset: Dataset;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-dataset-'));
  await writeDataset(join(root, 'made'), source, { shardBytes });
  dataset = await openDataset(join(root, 'made'));
});
afterAll(() => rm(root, { recursive: true }));

async function rowsOf(options: ExampleOptions): Promise<number[]> {
  const rows = [];
  for await (const { row } of examples(dataset.splits.train, options)) rows.push(row);
  return rows;
}

describe('writeDataset and openDataset', () => {
  test('what was written comes back', async () => {
    expect(dataset.classes).toEqual(source.classes);
    expect(dataset).toMatchObject({ description: 'Noise', image, augmentation: source.augmentation });
    expect(dataset.ceiling).toEqual({ top1: 0.9, standardError: 0.01, examples: 100 });
    for (const split of ['train', 'validation', 'test'] as const) {
      const read = [];
      for await (const { row, bytes, label } of examples(dataset.splits[split])) {
        read.push({ row, label, pixels: (await decodeImage(bytes, image)).join() });
      }
      const made = Array.from({ length: counts[split] }, (_, row) => {
        const { label, pixels } = madeImage(split, row);
        return { row, label, pixels: pixels.join() };
      });
      expect(read).toEqual(made);
      expect(dataset.splits[split].rows).toBe(counts[split]);
    }
  });

  test('shards are bounded, named with their number, and whole Arrow streams', async () => {
    const { shards, directory } = dataset.splits.train;
    expect(shards.length).toBeGreaterThan(5);
    const names = (await readdir(directory)).filter((name) => name.endsWith('.arrow'));
    const total = String(shards.length).padStart(5, '0');
    expect(names).toEqual(
      shards.map((_, index) => `data-${String(index).padStart(5, '0')}-of-${total}.arrow`),
    );
    for (const { path, bytes, rows } of shards) {
      expect(bytes).toBeLessThanOrEqual(shardBytes);
      expect(tableFromIPC(await readFile(path)).numRows).toBe(rows);
    }
  });

  test('a folder that holds a data set, or none, is refused', async () => {
    await expect(writeDataset(dataset.directory, source)).rejects.toMatchObject({ code: 'dataset-invalid' });
    await expect(openDataset(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('class names that would not survive are refused', async () => {
    for (const classes of [['a', 'a'], ['a\nb'], [' '], []]) {
      const written = writeDataset(join(root, 'refused'), { ...source, classes });
      await expect(written).rejects.toMatchObject({ code: 'dataset-invalid' });
    }
  });

  test('an aborted writer leaves no data set', async () => {
    const directory = join(root, 'aborted');
    const written = writeDataset(directory, source, { signal: AbortSignal.abort() });
    await expect(written).rejects.toMatchObject({ code: 'interrupted' });
    expect(await readdir(join(directory, 'train'))).toEqual([]);
    await expect(openDataset(directory)).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('damage', () => {
  test('a shard cut anywhere is named, with the row where it ends', async () => {
    const [shard] = dataset.splits.train.shards;
    const whole = await readFile(shard.path);
    const { batches } = await indexShard(shard.path);
    try {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async (bytes) => {
          await truncate(shard.path, bytes);
          const wholeBatches = batches.filter(
            ({ offsetBytes, sizeBytes }) => offsetBytes + sizeBytes <= bytes,
          );
          const rows = wholeBatches.reduce((sum, batch) => sum + batch.rows, 0);
          const expected = {
            code: 'shard-truncated',
            message: expect.stringContaining(`after row ${rows},`),
          };
          await expect(openDataset(dataset.directory)).rejects.toMatchObject(expected);
          await expect(examples(dataset.splits.train).next()).rejects.toMatchObject(expected);
          await writeFile(shard.path, whole);
        }),
        { numRuns: 30 },
      );
    } finally {
      await writeFile(shard.path, whole);
    }
    await openDataset(dataset.directory);
  });

  test('a changed byte is found by verifySplit', async () => {
    await verifySplit(dataset.splits.train);
    const shard = dataset.splits.train.shards[2];
    const whole = await readFile(shard.path);
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 0, max: whole.length - 1 }),
          fc.integer({ min: 1, max: 255 }),
          async (at, flip) => {
            const changed = Buffer.from(whole);
            changed[at] ^= flip;
            await writeFile(shard.path, changed);
            const error: unknown = await verifySplit(dataset.splits.train).catch((caught: unknown) => caught);
            expect(error).toMatchObject({ message: expect.stringContaining(shard.path) });
            expect(error).toHaveProperty(
              'code',
              expect.stringMatching(/^(shard-(corrupt|truncated)|dataset-invalid)$/),
            );
          },
        ),
        { numRuns: 40 },
      );
    } finally {
      await writeFile(shard.path, whole);
    }
  });
});

describe('examples', () => {
  const everyRow = Array.from({ length: counts.train }, (_, row) => row);

  test('a seed permutes all rows, the same way each time, across all shards', async () => {
    const rows = await rowsOf({ shuffleSeed: [1, 'epoch', 0], bufferRows: 300 });
    expect(rows).not.toEqual(everyRow);
    expect(rows.toSorted((a, b) => a - b)).toEqual(everyRow);
    expect(await rowsOf({ shuffleSeed: [1, 'epoch', 0], bufferRows: 300 })).toEqual(rows);
    expect(await rowsOf({ shuffleSeed: [1, 'epoch', 1], bufferRows: 300 })).not.toEqual(rows);
    // A fifth of the rows holds rows of each fifth of the files: the buffer draws from everywhere.
    const fifths = new Set(rows.slice(0, 320).map((row) => Math.floor(row / 320)));
    expect(fifths.size).toBeGreaterThanOrEqual(3);
  });

  test('skip is a suffix and keep is a filter of the same order', async () => {
    const property = fc.asyncProperty(
      fc.option(fc.integer(), { nil: undefined }),
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 0, max: 1700 }),
      fc.option(fc.subarray([0, 1, 2, 3, 4, 5, 6]), { nil: undefined }),
      async (seed, bufferRows, skip, labels) => {
        const order = { bufferRows, ...(seed !== undefined && { shuffleSeed: [seed] }) };
        const kept = labels && { keep: (label: number) => labels.includes(label) };
        const all = await rowsOf(order);
        const wanted = labels ? all.filter((row) => labels.includes(madeImage('train', row).label)) : all;
        expect(await rowsOf({ ...order, skip, ...kept })).toEqual(wanted.slice(skip));
      },
    );
    await fc.assert(property, { numRuns: 8 });
  });

  test('a consumer may stop early', async () => {
    for await (const { row } of examples(dataset.splits.train, { bufferRows: 300 })) {
      if (row === 350) break;
    }
    expect((await rowsOf({})).length).toBe(counts.train);
  });
});

describe('imageBatches', () => {
  test('holds every image once, scaled, in the order of the examples', async () => {
    const order = await rowsOf({ shuffleSeed: [3] });
    const seen: number[] = [];
    for await (const { images, labels, rows } of imageBatches(dataset.splits.train, image, {
      batchSize: 64,
      epochSeed: [3],
    })) {
      expect(rows.length).toBe(Math.min(64, counts.train - seen.length));
      const made = Array.from(rows, (row) => madeImage('train', row));
      expect(images).toEqual(
        Float32Array.from(made.flatMap(({ pixels }) => Array.from(pixels, (value) => value / 255))),
      );
      expect(labels).toEqual(Int32Array.from(made, ({ label }) => label));
      seen.push(...rows);
    }
    expect(seen).toEqual(order);
  });

  test('skips batches, drops a partial one, and augments by row', async () => {
    const options = { batchSize: 64, epochSeed: [3], skipBatches: 23, dropLast: true } as const;
    const augment = (_pixels: Uint8Array, row: number, out: Float32Array, offset: number) => {
      out.fill(row, offset, offset + 30);
    };
    const batches = [];
    for await (const batch of imageBatches(dataset.splits.train, image, { ...options, augment }))
      batches.push(batch);
    expect(batches.length).toBe(Math.floor(counts.train / 64) - 23);
    const order = await rowsOf({ shuffleSeed: [3] });
    const rows = batches.flatMap((batch) => Array.from(batch.rows));
    expect(rows).toEqual(order.slice(23 * 64, 25 * 64));
    expect(Array.from(batches[0].images.subarray(0, 60))).toEqual([
      ...Array<number>(30).fill(rows[0]),
      ...Array<number>(30).fill(rows[1]),
    ]);
  });
});
