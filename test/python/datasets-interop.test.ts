import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { huggingFaceSource } from '../../src/data/importers/hugging-face.js';
import { readPredictions } from '../../src/data/predictions.js';
import type { DatasetSource, LabelledImage } from '../../src/data/source.js';
import { writeDataset } from '../../src/data/write-dataset.js';

/** The interpreter of an environment with `datasets`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;

describe.skipIf(!python)("Python's datasets", () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'kd-spec-python-'));
  });
  afterAll(() => rm(root, { recursive: true }));

  function ask(command: string, path: string) {
    const script = join(import.meta.dirname, 'datasets_interop.py');
    const env = { ...process.env, HF_HOME: join(root, 'cache'), HF_DATASETS_OFFLINE: '1' };
    return JSON.parse(
      execFileSync(python ?? '', [script, command, path], {
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  async function all(images: AsyncIterable<LabelledImage>): Promise<LabelledImage[]> {
    const gathered = [];
    for await (const image of images) gathered.push(image);
    return gathered;
  }

  test.each([1, 3] as const)(
    'load_from_disk opens ours and shows images of %i channels and class names',
    async (channels) => {
      const image = { height: 7, width: 5, channels };
      const counts = { train: 700, validation: 0, test: 30 };
      const source: DatasetSource = {
        description: 'Images that tell their row',
        classes: ['ash', '"bœuf"', '椅子'],
        image,
        augmentation: { kind: 'none' },
        count: (split) => counts[split],
        images: async function* (split) {
          for (let row = 0; row < counts[split]; row++) {
            yield {
              pixels: Uint8Array.from({ length: 35 * channels }, (_, i) => (row * 7 + i * 3) % 256),
              label: row % 3,
            };
          }
        },
      };
      const directory = join(root, `ours-${channels}`);
      const summary = await writeDataset(directory, source, { shardBytes: 30_000 });
      expect(summary.splits.train.shards).toBeGreaterThan(1);
      const seen = ask('read', directory);
      for (const split of ['train', 'validation', 'test'] as const) {
        const made = await all(source.images(split));
        expect(seen[split]).toEqual({
          rows: counts[split],
          classes: source.classes,
          labels: made.map(({ label }) => label),
          modes: counts[split] === 0 ? [] : [channels === 1 ? 'L' : 'RGB'],
          pixels: made.map(({ pixels }) => Array.from(pixels)),
        });
      }
    },
  );

  test('huggingFaceSource opens what save_to_disk wrote', async () => {
    const { rows, classes, batches } = ask('write', root);
    expect(batches.length).toBeGreaterThan(1);
    const everyRow = Array.from({ length: rows }, (_, row) => row);
    const single = join(root, 'single');
    for (const [directory, sizes] of [
      [single, [60 - 6 - 6, 6, 6]],
      [join(root, 'batches'), [60 - 6 - 6, 6, 6]],
      [join(root, 'dict'), [40, 5, 15]],
    ] as const) {
      const source = await huggingFaceSource(directory, { imageSize: 8, seed: 1 });
      expect(source.classes).toEqual(classes);
      const splits = [
        await all(source.images('train')),
        await all(source.images('validation')),
        await all(source.images('test')),
      ];
      expect(splits.map((images) => images.length)).toEqual(sizes);
      // Every pixel tells the row, and the row tells the class.
      const shown = splits.flat().map(({ pixels, label }) => {
        expect(pixels).toEqual(new Uint8Array(8 * 8 * 3).fill(pixels[0]));
        expect(label).toBe(pixels[0] % 3);
        return pixels[0];
      });
      expect(shown.toSorted((a, b) => a - b)).toEqual(everyRow);
    }
  });

  test('readPredictions opens what pyarrow wrote in the file format', async () => {
    const path = join(root, 'predictions.arrow');
    ask('predictions', path);
    const batches = [];
    for await (const batch of (await readPredictions(path, { classes: 10 })).rows()) batches.push(batch);
    expect(batches.map(({ labels }) => Array.from(labels ?? []))).toEqual([[5, 0], [9]]);
    expect(batches.map(({ probabilities }) => Array.from(probabilities.indices))).toEqual([[5, 2], [9]]);
  });
});
