import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { parseJson } from '../core/json-file.js';
import { indexShard } from './arrow-shard.js';
import { readClassNames } from './class-names.js';
import { classesName, manifestName } from './dataset-files.js';
import { type DatasetManifest, datasetManifest } from './dataset-manifest.js';
import type { Augmentation, Ceiling, ImageShape, SplitName } from './source.js';

/** One Arrow file of a split, as it was when it was written. */
export interface Shard {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** One part of a data set. */
export interface Split {
  readonly directory: string;
  /** Labels are below this. */
  readonly classes: number;
  readonly rows: number;
  readonly shards: readonly Shard[];
}

/** A data set on disk; nothing of it is held but this description. */
export interface Dataset {
  readonly directory: string;
  readonly description: string;
  /** The name of each class; the position is the label. */
  readonly classes: readonly string[];
  readonly image: ImageShape;
  readonly augmentation: Augmentation;
  readonly ceiling?: Ceiling;
  readonly splits: Readonly<Record<SplitName, Split>>;
}

/**
 * Opens a data set that `writeDataset` wrote, and checks the size of every shard.
 *
 * @param directory the folder that holds `kd-spec.json`
 * @returns its description; read images with `examples` or `imageBatches`
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated` naming shard and row, `shard-corrupt`
 *
 * @example
 * const { classes, splits } = await openDataset('kd-workspace/dataset');
 */
export async function openDataset(directory: string): Promise<Dataset> {
  const manifest = await readManifest(join(directory, manifestName));
  const classes = await readClassNames(join(directory, classesName), {
    expected: manifest.classes,
    code: 'dataset-invalid',
    advice: 'make the data set again',
  });
  const open = async (name: SplitName): Promise<Split> => {
    const { rows, shards } = manifest.splits[name];
    const splitDirectory = join(directory, name);
    const split = {
      directory: splitDirectory,
      classes: manifest.classes,
      rows,
      shards: shards.map(({ file, ...shard }) => ({ path: join(splitDirectory, file), ...shard })),
    };
    for (const shard of split.shards) await checkSize(shard);
    return split;
  };
  const { description, augmentation, ceiling } = manifest;
  const { height, width, channels, isFeatures, logits } = manifest.image;
  const image: ImageShape = {
    height,
    width,
    channels,
    ...(isFeatures && { isFeatures }),
    ...(logits !== undefined && { logits }),
  };
  const splits = {
    train: await open('train'),
    validation: await open('validation'),
    test: await open('test'),
  };
  return { directory, description, classes, image, augmentation, ...(ceiling && { ceiling }), splits };
}

/**
 * Compares the bytes of every shard of a split with the hash that was recorded when it was written.
 *
 * @internal A check by tests; a run compares the hashes in the artefact's manifest.
 * @throws KdSpecError `shard-truncated` or `shard-corrupt`, naming the shard
 * Cost: reads every byte once, without holding a shard in memory.
 */
export async function verifySplit(split: Split): Promise<void> {
  for (const shard of split.shards) {
    await checkSize(shard);
    const hash = createHash('sha256');
    for await (const bytes of createReadStream(shard.path)) hash.update(bytes);
    const sha256 = hash.digest('hex');
    if (sha256 !== shard.sha256) {
      // A damaged frame is named with its row; a flipped byte inside a body has no row of its own.
      await indexShard(shard.path);
      throw corrupt(shard, `SHA-256 ${shard.sha256}`, sha256);
    }
  }
}

async function checkSize(shard: Shard): Promise<void> {
  const stats = await stat(shard.path).catch((error: unknown) => {
    throw asFileError(error, shard.path, 'an Arrow shard');
  });
  if (stats.size === shard.bytes) return;
  if (stats.size < shard.bytes) await indexShard(shard.path);
  throw corrupt(shard, `${shard.bytes} bytes`, `${stats.size}`);
}

function corrupt(shard: Shard, expected: string, found: string): KdSpecError {
  return new KdSpecError(
    'shard-corrupt',
    `${shard.path} (rows 0 to ${shard.rows}): expected ${expected}, found ${found}: ` +
      'copy the file again, or make the data set again',
  );
}

async function readManifest(path: string): Promise<DatasetManifest> {
  const text = await readText(path, 'the description of a data set');
  return parseJson(text, path, datasetManifest, {
    code: 'dataset-invalid',
    advice: 'make the data set again',
  });
}

async function readText(path: string, expected: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw asFileError(error, path, expected);
  });
}
