import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { prettifyError, z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { column, encodedImages, integers } from '../arrow-columns.js';
import { indexShard, type ShardIndex } from '../arrow-shard.js';
import { decodeImage } from '../image-codec.js';
import { readRows } from '../shard-rows.js';
import type { DatasetSource, ImageShape, LabelledImage, SplitName } from '../source.js';
import { splitBySeed } from './split-by-seed.js';

/** How a Hugging Face data set is imported. */
export interface HuggingFaceOptions {
  /** Height and width to which images are brought, in pixels. */
  readonly imageSize: number;
  readonly channels?: 1 | 3;
  /** The column of images; default the only one with the Image feature. */
  readonly imageColumn?: string;
  /** The column of labels; default the only one with the ClassLabel feature. */
  readonly labelColumn?: string;
  /** Share of the training images set aside for validation, where there is no such split. */
  readonly validationFraction?: number;
  /** Share of the training images set aside for the test, where there is no such split. */
  readonly testFraction?: number;
  readonly seed: number;
}

/** One split as it lies on disk. */
interface StoredSplit {
  readonly shards: readonly ShardIndex[];
  readonly image: string;
  readonly label: string;
  readonly classes: readonly string[];
}

const dictSchema = z.object({ splits: z.array(z.string()) });
const stateSchema = z.object({ _data_files: z.array(z.object({ filename: z.string().regex(/^[^/\\]+$/) })) });
const infoSchema = z.object({ features: z.record(z.string(), z.unknown()) });
const labelSchema = z.object({ names: z.array(z.string()) });
const decodesAhead = 16;

/**
 * Imports what Python's `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote: an Image column and a
 * ClassLabel column, of any names.
 *
 * The splits `train`, `validation` (or `val`, `valid`) and `test` are taken as they are; what is missing is
 * set aside from `train` by seed, class by class. A single data set is taken for `train`.
 *
 * @param directory the folder given to `save_to_disk`
 * @param options.imageSize height and width of the result, in pixels
 * @param options.seed names the order and the splits
 * @returns a source for `writeDataset`
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: holds the labels of `train` when it must be split, else no rows.
 */
export async function huggingFaceSource(
  directory: string,
  options: HuggingFaceOptions,
): Promise<DatasetSource> {
  const { imageSize, channels = 3, validationFraction = 0.1, testFraction = 0.1, seed } = options;
  const image: ImageShape = { height: imageSize, width: imageSize, channels };
  const folders = await splitFolders(directory);
  const train = await openSplit(folders.train, options);
  const stored: Partial<Record<SplitName, StoredSplit>> = { train };
  for (const name of ['validation', 'test'] as const) {
    const folder = folders[name];
    if (folder) stored[name] = await openSplit(folder, options);
  }
  for (const split of Object.values(stored)) {
    if (split.classes.join('\n') === train.classes.join('\n')) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${directory}: the splits name different classes: write them again`,
    );
  }

  const fractions = {
    validation: stored.validation ? 0 : validationFraction,
    test: stored.test ? 0 : testFraction,
  };
  const divided =
    fractions.validation + fractions.test > 0
      ? splitBySeed(await readLabels(train), fractions, seed)
      : undefined;
  const rowCount = (split: StoredSplit) => split.shards.reduce((sum, { rows }) => sum + rows, 0);
  return {
    description: `Hugging Face data set of the folder ${basename(directory)}`,
    classes: train.classes,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (name) => {
      const own = stored[name];
      if (own && !(name === 'train' && divided)) return rowCount(own);
      return divided?.filter((split) => split === name).length ?? 0;
    },
    images: (name) => {
      const own = stored[name];
      const wanted =
        own && !(name === 'train' && divided) ? undefined : (row: number) => divided?.[row] === name;
      return decodeRows(own ?? train, wanted, image, seed, name);
    },
  };
}

async function splitFolders(
  directory: string,
): Promise<{ train: string; validation?: string; test?: string }> {
  const path = join(directory, 'dataset_dict.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return { train: directory };
  const names = parse(dictSchema, text, path).splits;
  if (!names.includes('train')) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a split train, found ${names.join(', ')}: rename one`,
    );
  }
  const validation = names.find((name) => ['validation', 'val', 'valid'].includes(name));
  return {
    train: join(directory, 'train'),
    ...(validation && { validation: join(directory, validation) }),
    ...(names.includes('test') && { test: join(directory, 'test') }),
  };
}

async function openSplit(directory: string, options: HuggingFaceOptions): Promise<StoredSplit> {
  const read = async (name: string) =>
    readFile(join(directory, name), 'utf8').catch((error: unknown) => {
      throw asFileError(
        error,
        join(directory, name),
        "a folder that Python's save_to_disk wrote, with this file",
      );
    });
  const infoPath = join(directory, 'dataset_info.json');
  const { features } = parse(infoSchema, await read('dataset_info.json'), infoPath);
  const image = chooseColumn(features, 'Image', options.imageColumn, infoPath);
  const label = chooseColumn(features, 'ClassLabel', options.labelColumn, infoPath);
  const { names } = parse(labelSchema, JSON.stringify(features[label]), infoPath);
  const state = parse(stateSchema, await read('state.json'), join(directory, 'state.json'));
  const shards: ShardIndex[] = [];
  for (const { filename } of state._data_files) shards.push(await indexShard(join(directory, filename)));
  return { shards, image, label, classes: names };
}

function chooseColumn(
  features: Readonly<Record<string, unknown>>,
  type: 'Image' | 'ClassLabel',
  wanted: string | undefined,
  path: string,
): string {
  const isType = (feature: unknown) =>
    typeof feature === 'object' && feature !== null && '_type' in feature && feature._type === type;
  const found = Object.keys(features).filter((name) => isType(features[name]));
  if (wanted !== undefined && found.includes(wanted)) return wanted;
  if (wanted === undefined && found.length === 1) return found[0];
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected ${wanted === undefined ? 'one column' : `a column ${wanted}`} with the feature ${type}, ` +
      `found ${found.length > 0 ? found.join(', ') : 'none'}: name the column, or cast it in Python`,
  );
}

function parse<T>(schema: z.ZodType<T>, text: string, path: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new KdSpecError('dataset-invalid', `${path} is not JSON: write the data set again`, { cause });
  }
  const { data, success, error } = schema.safeParse(json);
  if (success) return data;
  throw new KdSpecError('dataset-invalid', `${path}: ${prettifyError(error)}`);
}

async function readLabels({ shards, label }: StoredSplit): Promise<Int32Array> {
  const labels = new Int32Array(shards.reduce((sum, { rows }) => sum + rows, 0));
  const stream = readRows(shards, (batch, path, firstRow) => {
    const labelAt = integers(requireColumn(batch, label, path), { path, firstRow });
    return { take: (position: number, row: number) => ({ row, value: labelAt(position) }) };
  });
  for await (const { row, value } of stream) labels[row] = value;
  return labels;
}

async function* decodeRows(
  { shards, image, label, classes }: StoredSplit,
  wanted: ((row: number) => boolean) | undefined,
  shape: ImageShape,
  seed: number,
  split: SplitName,
): AsyncGenerator<LabelledImage> {
  const stream = readRows(
    shards,
    (batch, path, firstRow) => {
      const bytesAt = encodedImages(requireColumn(batch, image, path), { path, firstRow });
      const labelAt = integers(requireColumn(batch, label, path), { path, firstRow });
      return {
        take: (position: number, row: number) => {
          if (wanted && !wanted(row)) return undefined;
          const value = labelAt(position);
          const name = `${path}, row ${firstRow + position}`;
          if (value < 0 || value >= classes.length) {
            throw new KdSpecError(
              'dataset-invalid',
              `${name}: expected a label in [0, ${classes.length}), found ${value}: remove rows without a label`,
            );
          }
          return { bytes: bytesAt(position), label: value, name };
        },
      };
    },
    { shuffleSeed: [seed, 'order', split] },
  );
  // Decoding begins when the rows are at hand: a failure must not come up while the next row is awaited.
  type Stored = { readonly bytes: Uint8Array; readonly label: number; readonly name: string };
  const decode = async ({ bytes, label: value, name }: Stored): Promise<LabelledImage> => ({
    pixels: await decodeImage(bytes, shape, name),
    label: value,
  });
  let waiting: Stored[] = [];
  for await (const stored of stream) {
    if (!stored) continue;
    waiting.push(stored);
    if (waiting.length < decodesAhead) continue;
    yield* await Promise.all(waiting.map(decode));
    waiting = [];
  }
  yield* await Promise.all(waiting.map(decode));
}

function requireColumn(batch: Parameters<typeof column>[0], name: string, path: string) {
  const data = column(batch, name);
  if (data) return data;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected a column ${name}, as dataset_info.json says, found none`,
  );
}
