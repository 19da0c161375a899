import { stat } from 'node:fs/promises';
import { KdSpecError } from '../../core/errors.js';
import type { DatasetSource } from '../source.js';
import type { Importer, SourceOptions } from './importer.js';

/** One line of `importers`. */
export interface ListedImporter {
  readonly name: string;
  /** What `--source` is then, for help. */
  readonly source: string;
  /** Whether the source is the name itself and nothing on disk. */
  readonly isGenerator?: true;
  /** The dataset options that this kind takes, beside those that all take. */
  readonly options: readonly (keyof SourceOptions)[];
  /** Loads the code, which brings decoders and renderers with it, only when it is needed. */
  load(): Promise<Importer>;
}

const parts = ['validationFraction', 'testFraction'] as const;
const images = ['imageSize', 'channels', 'onError', 'group', 'strength'] as const;
const columns = ['imageColumn', 'labelColumn'] as const;

/**
 * The kinds of data set that can be opened, in the order in which a source is compared with them.
 *
 * Help, the reference and the choice of what opens a source derive from this list.
 */
export const importers: readonly ListedImporter[] = [
  {
    name: 'jft-like',
    source: 'jft-like',
    isGenerator: true,
    options: ['classes', 'imageSize', 'imagesPerClass', 'labelNoise'],
    load: async () => (await import('../jft-like/jft-like-source.js')).jftLike,
  },
  {
    name: 'han',
    source: 'han',
    isGenerator: true,
    options: [
      ...(['classes', 'imageSize', 'fonts', 'minimumDesigns', 'codePoints', 'validationDesigns'] as const),
      ...(['testDesigns', 'copies', 'strength'] as const),
    ],
    load: async () => (await import('../han/han-source.js')).han,
  },
  {
    name: 'speech',
    source: 'speech',
    isGenerator: true,
    options: ['classes', 'sentences'],
    load: async () => (await import('../speech/speech-source.js')).speech,
  },
  {
    name: 'hugging-face',
    source: 'a Hugging Face data set (save_to_disk)',
    options: [...images, ...parts, ...columns],
    load: async () => (await import('./hugging-face.js')).huggingFace,
  },
  {
    name: 'idx',
    source: 'a folder of IDX files',
    options: ['validationFraction', 'strength'],
    load: async () => (await import('./idx.js')).idx,
  },
  {
    name: 'features',
    source: 'features made elsewhere (.npz, .npy, .parquet, .arrow) or a folder of them',
    options: [...parts, ...columns, 'group', 'classNames'],
    load: async () => (await import('./features.js')).features,
  },
  {
    name: 'parquet',
    source: 'Parquet files (.parquet, as on the Hugging Face Hub) or a folder of them',
    options: [...images, ...parts, ...columns, 'classNames'],
    load: async () => (await import('./parquet.js')).parquet,
  },
  {
    name: 'web-dataset',
    source: 'WebDataset shards (.tar, .tar.gz) or a folder of them',
    options: [...images, ...parts, ...columns, 'classNames'],
    load: async () => (await import('./web-dataset.js')).webDataset,
  },
  {
    name: 'image-table',
    source: 'a table of paths and labels (.csv, .tsv, .jsonl) or a folder with one (metadata.csv)',
    options: [...images, ...parts, ...columns, 'classNames'],
    load: async () => (await import('./image-table.js')).imageTable,
  },
  {
    name: 'image-folder',
    source: 'a folder of class folders of images',
    options: [...images, ...parts],
    load: async () => (await import('./image-folder.js')).imageFolder,
  },
];

/** The names of the data sets that kd-spec makes itself; any other source is a path. */
export const generatorNames = importers.filter(({ isGenerator }) => isGenerator).map(({ name }) => name);

const paths = importers.filter(({ isGenerator }) => !isGenerator).map(({ source }) => source);

/** What a source can be, in words. */
export const sourceChoices = `${generatorNames.join(', ')}, or the path of ${paths.join(', of ')}`;

/**
 * Opens a source with the first importer of the list that recognises it. Images that are imported are augmented as
 * `strength` says, where it says something, else as their importer has it.
 *
 * @param source a generator's name, or the path of a file or folder
 * @throws KdSpecError `not-found` when it is neither; what the importer throws
 */
export async function openSource(
  source: string,
  options: SourceOptions,
): Promise<{ readonly importer: ListedImporter; readonly source: DatasetSource }> {
  const importer = await recognise(source);
  const opened = await (await importer.load()).open(source, options);
  const { strength } = options;
  if (strength === null || importer.isGenerator || opened.image.isFeatures)
    return { importer, source: opened };
  const augmentation =
    strength === 0 ? ({ kind: 'none' } as const) : ({ kind: 'degrade', strength } as const);
  return { importer, source: { ...opened, augmentation } };
}

/**
 * The first importer of the list that recognises a source.
 *
 * @throws KdSpecError `not-found` when none does
 */
export async function recognise(source: string): Promise<ListedImporter> {
  const generator = importers.find(({ isGenerator, name }) => isGenerator && name === source);
  if (generator) return generator;
  const info = await stat(source).catch(() => undefined);
  if (info) {
    for (const importer of importers) {
      if (!importer.isGenerator && (await (await importer.load()).recognises(source))) return importer;
    }
  }
  const what = info ? 'a file of another kind' : 'neither a known data set nor a file or folder';
  throw new KdSpecError('not-found', `${source} is ${what}: expected ${sourceChoices}`);
}
