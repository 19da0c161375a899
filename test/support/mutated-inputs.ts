import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Field, Float32, Int32, List, Table, tableToIPC, vectorFromArray } from 'apache-arrow';
import sharp from 'sharp';
import { KdSpecError } from '../../src/core/errors.js';
import { createRandom, type Random } from '../../src/core/random.js';
import { openDataset } from '../../src/data/dataset.js';
import { examples } from '../../src/data/examples.js';
import { readImageFile } from '../../src/data/image-codec.js';
import { huggingFaceSource } from '../../src/data/importers/hugging-face.js';
import { idxSource } from '../../src/data/importers/idx.js';
import { imageFolderSource } from '../../src/data/importers/image-folder.js';
import { readPredictions } from '../../src/data/predictions.js';
import type { DatasetSource } from '../../src/data/source.js';
import { writeDataset } from '../../src/data/write-dataset.js';
import { readSubsets } from '../../src/ensemble/subsets/subsets-file.js';
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.js';
import { readPipelineFile } from '../../src/pipeline/pipeline-file.js';

/** A kind of file that users bring: one that is sound, where it lies, and what reads it. */
export interface InputKind {
  readonly name: string;
  readonly path: string;
  readonly sound: Uint8Array;
  readonly read: () => Promise<unknown>;
}

/** What became of the mutations of one kind. */
export interface FuzzOutcome {
  readonly runs: number;
  readonly refused: number;
  /** Runs that ended in anything but a result or a `KdSpecError`, or took too long. */
  readonly defects: readonly { readonly run: number; readonly what: string }[];
  readonly slowestMs: number;
}

const slowMs = 20_000; // a hang, on however busy a machine

/** Makes one sound file of each kind in a folder. */
export async function inputKinds(folder: string): Promise<InputKind[]> {
  const kinds: InputKind[] = [];
  const at = (...parts: string[]) => join(folder, ...parts);
  const add = async (
    name: string,
    path: string,
    sound: Uint8Array | string,
    read: () => Promise<unknown>,
  ) => {
    const bytes = typeof sound === 'string' ? Buffer.from(sound) : sound;
    await writeFile(path, bytes);
    kinds.push({ name, path, sound: bytes, read });
  };

  const predictions = new Table({
    indices: vectorFromArray(
      Array.from({ length: 40 }, (_, row) => [row % 9, 9 + (row % 5)]),
      new List(new Field('item', new Int32(), true)),
    ),
    probabilities: vectorFromArray(
      Array.from({ length: 40 }, () => [0.6, 0.3]),
      new List(new Field('item', new Float32(), true)),
    ),
    label: vectorFromArray(
      Array.from({ length: 40 }, (_, row) => row % 9),
      new Int32(),
    ),
  });
  for (const format of ['stream', 'file'] as const) {
    const path = at(`predictions-${format}.arrow`);
    await add(`Arrow predictions, ${format} format`, path, tableToIPC(predictions, format), async () => {
      for await (const _ of (await readPredictions(path)).rows());
    });
  }

  const tensors = at('weights.safetensors');
  await writeSafetensors(
    tensors,
    new Map([
      ['head/kernel', { shape: [4, 5], values: new Float32Array(20).fill(0.5) }],
      ['classes', { shape: [7], values: new Int32Array(7) }],
    ]),
  );
  await addExisting('safetensors', tensors, () => readSafetensors(tensors));

  const pixels = Buffer.from(Uint8Array.from({ length: 24 * 20 * 3 }, (_, k) => (k * 37) % 251));
  const picture = () => sharp(pixels, { raw: { width: 24, height: 20, channels: 3 } });
  const shape = { height: 16, width: 16, channels: 1 } as const;
  const encoded = {
    png: await picture().png().toBuffer(),
    jpeg: await picture().jpeg().toBuffer(),
    webp: await picture().webp().toBuffer(),
  };
  for (const [format, bytes] of Object.entries(encoded)) {
    const path = at(`image.${format}`);
    await add(format.toUpperCase(), path, bytes, () => readImageFile(path, shape));
  }

  const folderOfImages = at('images');
  for (const name of ['a', 'b']) {
    await mkdir(join(folderOfImages, name), { recursive: true });
    for (let k = 0; k < 3; k++) await writeFile(join(folderOfImages, name, `${k}.png`), encoded.png);
  }
  await add('an image of a folder', join(folderOfImages, 'a', '0.png'), encoded.png, async () =>
    drain(await imageFolderSource(folderOfImages, { imageSize: 16, seed: 1 })),
  );

  for (const suffix of ['', '.gz']) {
    const directory = at(`idx${suffix}`);
    await mkdir(directory);
    const pack = (bytes: Uint8Array) => (suffix === '' ? bytes : gzipSync(bytes));
    for (const part of ['train', 't10k']) {
      await writeFile(join(directory, `${part}-images-idx3-ubyte${suffix}`), pack(idxImages(12, 6)));
      await writeFile(join(directory, `${part}-labels-idx1-ubyte${suffix}`), pack(idxLabels(12)));
    }
    const read = async () => drain(await idxSource(directory, { seed: 1 }));
    const images = join(directory, `train-images-idx3-ubyte${suffix}`);
    const labels = join(directory, `t10k-labels-idx1-ubyte${suffix}`);
    await add(`IDX images${suffix}`, images, pack(idxImages(12, 6)), read);
    await add(`IDX labels${suffix}`, labels, pack(idxLabels(12)), read);
  }

  const dataset = at('dataset');
  await writeDataset(dataset, await imageFolderSource(folderOfImages, { imageSize: 16, seed: 1 }));
  const readOurs = async () => {
    for await (const _ of examples((await openDataset(dataset)).splits.train, { shuffleSeed: [1] }));
  };
  await addExisting('a shard of ours', join(dataset, 'train', 'data-00000-of-00001.arrow'), readOurs);
  await addExisting('kd-spec.json', join(dataset, 'kd-spec.json'), readOurs);
  const readTheirs = async () => drain(await huggingFaceSource(dataset, { imageSize: 16, seed: 1 }));
  await addExisting(
    'a shard of save_to_disk',
    join(dataset, 'train', 'data-00000-of-00001.arrow'),
    readTheirs,
  );
  for (const name of ['dataset_dict.json', 'train/state.json', 'train/dataset_info.json']) {
    await addExisting(name, join(dataset, name), readTheirs);
  }

  const yaml = at('pipeline.yaml');
  await add(
    'YAML pipeline',
    yaml,
    'seed: 3\ndataset:\n  source: jft-like\n  classes: 60\n  labelNoise: 0.1\ngeneralist:\n' +
      '  network: { convolutions: [8, 16], dense: [32] }\n  epochs: 2\nsubsets:\n  clusters: 3\n',
    () => readPipelineFile(yaml),
  );
  const subsets = at('subsets.json');
  await add(
    'subsets.json',
    subsets,
    '{ "classes": 5, "subsets": [{ "id": 0, "classes": [0, 3] }, { "id": 1, "classes": [1, 2, 4] }] }',
    () => readSubsets(subsets),
  );
  return kinds;

  async function addExisting(name: string, path: string, read: () => Promise<unknown>) {
    kinds.push({ name, path, sound: await readFile(path), read });
  }
}

/** Reads a kind of file after each of many mutations; run n of a seed is always the same. */
export async function fuzz(
  { name, path, sound, read }: InputKind,
  { runs, seed, first = 0 }: { readonly runs: number; readonly seed: number; readonly first?: number },
): Promise<FuzzOutcome> {
  await read(); // what is sound is read
  const defects: { run: number; what: string }[] = [];
  let refused = 0;
  let slowestMs = 0;
  for (let run = first; run < first + runs; run++) {
    await writeFile(path, mutate(sound, createRandom(seed, 'fuzz', name, run)));
    const started = performance.now();
    try {
      await read();
    } catch (error) {
      if (error instanceof KdSpecError && error.message.length > 20) refused++;
      else
        defects.push({ run, what: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
    const elapsedMs = performance.now() - started;
    slowestMs = Math.max(slowestMs, elapsedMs);
    if (elapsedMs > slowMs) defects.push({ run, what: `it took ${elapsedMs.toFixed(0)} ms` });
  }
  await writeFile(path, sound);
  return { runs, refused, defects, slowestMs };
}

/** One to four changes of a file's bytes, of the kinds that disks, networks and hands make. */
function mutate(sound: Uint8Array, random: Random): Uint8Array {
  let bytes = Buffer.from(sound);
  const place = () => {
    const length = random.uniform() < 0.5 ? Math.min(64, bytes.length) : bytes.length; // headers more often
    return random.below(Math.max(1, length));
  };
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => random.below(256)));
  const splice = (start: number, cut: number, put: Uint8Array) => {
    bytes = Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + cut)]);
  };
  const extremes = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x4000_0000, 0x0001_0000];
  const changes = random.uniform() < 0.5 ? 1 : 2 + random.below(3);
  for (let change = 0; change < changes; change++) {
    const start = place();
    switch (random.below(8)) {
      case 0:
        bytes = bytes.subarray(0, start);
        break;
      case 1:
        if (start < bytes.length) bytes[start] ^= 1 << random.below(8);
        break;
      case 2:
        splice(start, 1 + random.below(16), new Uint8Array(0));
        break;
      case 3:
        splice(start, 0, noise(1 + random.below(16)));
        break;
      case 4:
        splice(start, 4, noise(4));
        break;
      case 5: {
        const word = Buffer.alloc(4);
        const value = extremes[random.below(extremes.length)];
        if (random.uniform() < 0.5) word.writeUInt32LE(value);
        else word.writeUInt32BE(value);
        splice(start - (start % 4), 4, word);
        break;
      }
      case 6:
        splice(start, 0, bytes.subarray(start, start + random.below(256)));
        break;
      default: {
        const digits = ['-1', '1e308', '99999999999999999999', '0', 'null', '""', '[]', '{}', '\0', '\u2028'];
        splice(start, random.below(3), Buffer.from(digits[random.below(digits.length)]));
      }
    }
  }
  return bytes;
}

async function drain(source: DatasetSource): Promise<void> {
  for (const split of ['train', 'validation', 'test'] as const) for await (const _ of source.images(split));
}

function idxImages(count: number, size: number): Buffer {
  const header = Buffer.alloc(16);
  [0x0803, count, size, size].forEach((value, k) => {
    header.writeUInt32BE(value, 4 * k);
  });
  return Buffer.concat([header, Buffer.alloc(count * size * size, 7)]);
}

function idxLabels(count: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(0x0801, 0);
  header.writeUInt32BE(count, 4);
  return Buffer.concat([header, Buffer.from(Array.from({ length: count }, (_, row) => row % 3))]);
}
