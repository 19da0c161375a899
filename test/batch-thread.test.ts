import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';
import { createRandom } from '../src/core/random.js';
import type { SplitName } from '../src/data/source.js';
import { writeDataset } from '../src/data/write-dataset.js';
import type { BatchThread, EpochBatches } from '../src/training/batches-ahead.js';
import type { TrainingBatch } from '../src/training/train.js';

// What is built: a thread runs a program of its own.
const built = (path: string) => pathToFileURL(join(packageFolder(), 'dist', 'training', path)).href;
const threads: typeof import('../src/training/batches-ahead.js') = await import(built('batches-ahead.js'));
const { imageSource }: typeof import('../src/training/image-batches.js') = await import(
  built('image-batches.js')
);

const rows: Record<SplitName, number> = { train: 70, validation: 1, test: 1 };
const epochs = 3;
const batchSize = 16;
const batchesPerEpoch = 5;

let root: string;
let inline: EpochBatches;
const parametersFor = (directory: string) => ({ directory, seed: 4, purpose: 'test', batchSize });

async function write(directory: string): Promise<void> {
  await writeDataset(directory, {
    description: 'Noise',
    classes: ['a', 'b'],
    image: { height: 6, width: 5, channels: 1 },
    augmentation: { kind: 'degrade', strength: 0.5 },
    count: (split) => rows[split],
    images: async function* (split) {
      for (let row = 0; row < rows[split]; row++) {
        const random = createRandom(split, row);
        yield { pixels: Uint8Array.from({ length: 30 }, () => random.below(256)), label: row % 2 };
      }
    },
  });
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-ahead-'));
  await write(join(root, 'whole'));
  inline = await imageSource.open(parametersFor(join(root, 'whole')));
});
afterAll(() => rm(root, { recursive: true }));

function openThread(directory = join(root, 'whole'), ahead = 2): BatchThread {
  return new threads.BatchThread(imageSource, parametersFor(directory), { epochs, ahead });
}

async function take(source: EpochBatches, epoch: number, skip: number, count = Number.POSITIVE_INFINITY) {
  const taken: TrainingBatch[] = [];
  for await (const batch of source.batches(epoch, skip)) {
    taken.push(batch);
    if (taken.length >= count) break;
  }
  return taken;
}

test('a thread gives the batches that its source gives, epoch after epoch', async () => {
  await using thread = openThread();
  for (let epoch = 0; epoch < epochs; epoch++) {
    const batches = await take(thread, epoch, 0);
    expect(batches).toHaveLength(batchesPerEpoch);
    expect(batches).toEqual(await take(inline, epoch, 0));
  }
  expect(await take(thread, 1, 0)).toEqual(await take(inline, 1, 0));
});

test.each([1, 2, 9])(
  'from anywhere, after a consumer that left early, with %i batches ahead',
  async (ahead) => {
    await using thread = openThread(join(root, 'whole'), ahead);
    const visits = [
      [0, 3, 1], // continued by the next
      [0, 4, 9],
      [1, 0, 2], // given up
      [2, 1, 2],
      [0, 0, 9],
    ] as const;
    for (const [epoch, skip, count] of visits) {
      expect(await take(thread, epoch, skip, count)).toEqual(await take(inline, epoch, skip, count));
    }
  },
);

test('an error of the thread is thrown where its batch would have come, with its code', async () => {
  const missing = openThread(join(root, 'missing'));
  await expect(take(missing, 0, 0)).rejects.toMatchObject({ name: 'KdSpecError', code: 'not-found' });
  await missing[Symbol.asyncDispose]();

  const directory = join(root, 'damaged');
  await write(directory);
  const [shard] = (await readdir(join(directory, 'train'))).filter((name) => name.endsWith('.arrow'));
  const path = join(directory, 'train', shard);
  const bytes = await readFile(path);
  for (let at = bytes.indexOf('PNG'); at >= 0; at = bytes.indexOf('PNG', at)) bytes[at] = 0;
  await writeFile(path, bytes);
  await using damaged = openThread(directory);
  await expect(take(damaged, 0, 0)).rejects.toMatchObject({ code: 'image-unreadable' });
});

test('a thread that is disposed of ends, and asking it for more says so', async () => {
  const thread = openThread();
  await take(thread, 0, 0, 1);
  await thread[Symbol.asyncDispose]();
  await expect(take(thread, 2, 0)).rejects.toThrow('ended');
});
