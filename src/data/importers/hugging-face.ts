import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Data } from 'apache-arrow';
import { z } from 'zod';
import { assert, KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { parseJson } from '../../core/json-file.js';
import { type ColumnPlace, column, encodedImages, integers, texts } from '../arrow-columns.js';
import { indexShard, type ShardIndex } from '../arrow-shard.js';
import { ImportFindings } from '../import-report.js';
import type { ShuffleSeed } from '../row-order.js';
import { readRows } from '../shard-rows.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { findSplits } from '../split-names.js';
import { decodeImages, type EncodedImage } from './decode-images.js';
import { type DividedRows, RowLabels, rowsOfSplit } from './divided-rows.js';
import { type Importer, type ImportOptions, importChoices, importOptions, withoutNull } from './importer.js';
import { chooseImageColumn, chooseLabelColumn, type LabelColumn } from './label-column.js';
import type { SplitFractions } from './split-by-seed.js';

/** How a Hugging Face data set is imported. */
export interface HuggingFaceOptions extends ImportOptions {
  /** The column of images; default the only one with the Image feature. */
  readonly imageColumn?: string;
  /** The column of labels; default the only one with the ClassLabel feature, else the only one of integers or strings. */
  readonly labelColumn?: string;
}

/** One split as it lies on disk. */
interface StoredSplit {
  readonly shards: readonly ShardIndex[];
  readonly features: Readonly<Record<string, unknown>>;
  /** Where the features are written down. */
  readonly infoPath: string;
}

const dictSchema = z.object({ splits: z.array(z.string().regex(/^[^/\\]+$/)) });
const stateSchema = z.object({ _data_files: z.array(z.object({ filename: z.string().regex(/^[^/\\]+$/) })) });
const infoSchema = z.object({ features: z.record(z.string(), z.unknown()) });

/**
 * Imports what Python's `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote: a column of images and a column of
 * labels, of any names. Labels may be a ClassLabel, integers or strings; the classes of the latter are the values that
 * occur in `train`. Rows without a label (null, -1 or an empty text) are left out.
 *
 * The splits for training, validation and test are taken as they are, by any of their usual names (see
 * `split-names.ts`); what is missing, or has no labelled row, is set aside from `train` by seed, class by class. A single
 * data set is taken for `train`.
 *
 * @param directory the folder given to `save_to_disk`
 * @param options.imageSize height and width of the result, in pixels
 * @param options.seed names the order and the splits
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: one pass over the record batches for the label columns, which are held; no image is decoded.
 */
export async function huggingFaceSource(
  directory: string,
  options: HuggingFaceOptions,
): Promise<DatasetSource> {
  const { image, validationFraction, testFraction, onError, seed } = importChoices(options);
  const findings = new ImportFindings();
  const folders = await splitFolders(directory, findings);
  const stored = new Map<SplitName, StoredSplit>([['train', await openSplit(folders.train)]]);
  for (const part of ['validation', 'test'] as const) {
    const folder = folders[part];
    const split = folder === undefined ? undefined : await openSplit(folder);
    if (split?.shards.some(({ rows }) => rows > 0)) stored.set(part, split);
    else if (split) findings.note(`a part without rows: ${part} is set aside from train`, split.infoPath);
  }
  const { features, infoPath } = partOf(stored, 'train');
  const imageColumn = chooseImageColumn(features, options.imageColumn, infoPath, findings);
  const labelColumn = chooseLabelColumn(features, options.labelColumn, infoPath);
  for (const other of stored.values()) {
    const { names } = chooseLabelColumn(other.features, labelColumn.column, other.infoPath);
    if (names?.join('\n') === labelColumn.names?.join('\n')) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${other.infoPath}: expected the classes of ${infoPath}, found others: write the parts again with the same ClassLabel`,
    );
  }
  const divided = await divideStored(stored, labelColumn, {
    directory,
    group: options.group,
    fractions: { validation: validationFraction, test: testFraction },
    seed,
    findings,
  });
  return {
    description: `Hugging Face data set of the folder ${basename(directory)}`,
    classes: divided.classes,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (split) => rowsOfSplit(divided, split).rows.length,
    images: (split) =>
      decodeImages(
        storedImages(divided, stored, imageColumn, split, [seed, 'order', split], findings),
        image,
        findings,
      ),
    report: () => findings.report(onError),
  };
}

/** A folder that `save_to_disk` wrote. */
export const huggingFace: Importer = {
  async recognises(source) {
    const has = (name: string) =>
      stat(join(source, name)).then(
        () => true,
        () => false,
      );
    return (await has('dataset_dict.json')) || (await has('state.json'));
  },
  open: (source, options) =>
    huggingFaceSource(source, {
      ...importOptions(options),
      ...withoutNull({ imageColumn: options.imageColumn, labelColumn: options.labelColumn }),
    }),
};

const invalid = { code: 'dataset-invalid', advice: 'write the data set again with save_to_disk' } as const;

async function splitFolders(
  directory: string,
  findings: ImportFindings,
): Promise<{ train: string } & Partial<Record<SplitName, string>>> {
  const path = join(directory, 'dataset_dict.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return { train: directory };
  const names = parseJson(text, path, dictSchema, invalid).splits;
  const found = findSplits(names, path);
  if (found.train === undefined) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a split train, found ${names.join(', ') || 'none'}: rename one, or name the folder of one`,
    );
  }
  const parts = Object.values(found);
  for (const name of names) if (!parts.includes(name)) findings.leaveOut('splits that are no part', name);
  const at = (name: string) => join(directory, name);
  return {
    train: at(found.train),
    ...(found.validation !== undefined && { validation: at(found.validation) }),
    ...(found.test !== undefined && { test: at(found.test) }),
  };
}

async function openSplit(directory: string): Promise<StoredSplit> {
  const read = async (name: string) =>
    readFile(join(directory, name), 'utf8').catch((error: unknown) => {
      throw asFileError(
        error,
        join(directory, name),
        "a folder that Python's save_to_disk wrote, with this file",
      );
    });
  const infoPath = join(directory, 'dataset_info.json');
  const { features } = parseJson(await read('dataset_info.json'), infoPath, infoSchema, invalid);
  const state = parseJson(await read('state.json'), join(directory, 'state.json'), stateSchema, invalid);
  const shards: ShardIndex[] = [];
  for (const { filename } of state._data_files) shards.push(await indexShard(join(directory, filename)));
  return { shards, features, infoPath };
}

function partOf(stored: ReadonlyMap<SplitName, StoredSplit>, part: SplitName): StoredSplit {
  const split = stored.get(part);
  assert(split !== undefined, `a stored part ${part}`);
  return split;
}

/** Reads labels and groups of all rows, and divides them. */
async function divideStored(
  stored: ReadonlyMap<SplitName, StoredSplit>,
  labelColumn: LabelColumn,
  {
    directory,
    group,
    fractions,
    seed,
    findings,
  }: {
    readonly directory: string;
    readonly group: string | undefined;
    readonly fractions: SplitFractions;
    readonly seed: number;
    readonly findings: ImportFindings;
  },
): Promise<DividedRows> {
  const { column: name, kind, isNamed } = labelColumn;
  const names = labelColumn.names?.map((label) => label.normalize('NFC'));
  if (names === undefined) findings.note(`a column of ${kind}, whose values are the classes`, name);
  const rows = new RowLabels({ areTexts: kind === 'strings' });
  for (const [part, { shards, features, infoPath }] of stored) {
    // Only training rows are divided: that another part lacks the column of groups is no reason to refuse it.
    const groupColumn =
      group !== undefined && (part === 'train' || Object.hasOwn(features, group))
        ? chooseLabelColumn(features, group, infoPath, '--group')
        : undefined;
    const cells = readRows(
      shards,
      (batch, path, firstRow) => {
        const reader = (of: string, as: LabelColumn['kind']) =>
          cellReader(required(column(batch, of), of, path), as, { path, firstRow });
        const labelAt = reader(name, kind);
        const groupAt = groupColumn && reader(groupColumn.column, groupColumn.kind);
        return { take: (position: number) => [labelAt(position), groupAt?.(position)] as const };
      },
      { columns: [name, ...(groupColumn ? [groupColumn.column] : [])] }, // without the images
    );
    for await (const [label, of] of cells) rows.add(part, label, of);
  }
  return rows.divide({
    place: directory,
    names: names && {
      list: names,
      areNumbered: true,
      from: {
        what: `${names.length} names of its ClassLabel`,
        advice: 'remove the rows, or write them again',
      },
    },
    isId: !isNamed && names === undefined ? name : undefined,
    group,
    nameOf: (part, row) => rowName(partOf(stored, part), row),
    fractions,
    seed,
    findings,
  });
}

function rowName({ shards }: StoredSplit, row: number): string {
  let first = 0;
  for (const { path, rows } of shards) {
    if (row < first + rows) return `${path}, row ${row - first}`;
    first += rows;
  }
  assert(false, `row ${row} of ${first}`);
}

/** The cell of a row as text; undefined for null, the integer -1 (no label, in Python) and the empty text. */
function cellReader(
  data: Data,
  kind: LabelColumn['kind'],
  place: ColumnPlace,
): (position: number) => string | undefined {
  const cellAt = kind === 'strings' ? texts(data, place) : integers(data, place, { nullable: true });
  return (position) => {
    const value = cellAt(position);
    if (value === null || value === -1 || value === '') return undefined;
    return typeof value === 'string' ? value.normalize('NFC') : String(value);
  };
}

/** A column that must be there. */
function required(data: Data | undefined, name: string, path: string): Data {
  if (data) return data;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected a column ${name}, which dataset_info.json names, found none`,
  );
}

/** The encoded images of a split in a shuffled order. */
async function* storedImages(
  divided: DividedRows,
  stored: ReadonlyMap<SplitName, StoredSplit>,
  imageColumn: string,
  split: SplitName,
  shuffleSeed: ShuffleSeed,
  findings: ImportFindings,
): AsyncGenerator<EncodedImage> {
  const { part } = rowsOfSplit(divided, split);
  const wanted = splitNames.indexOf(split);
  const splits = divided.assigned.get(part);
  const labels = divided.labels.get(part);
  if (!splits || !labels) return;
  const stream = readRows(
    partOf(stored, part).shards,
    (batch, path, firstRow) => {
      const images = required(column(batch, imageColumn), imageColumn, path);
      const bytesAt = encodedImages(images, { path, firstRow });
      return {
        keep: (_: number, row: number) => splits[row] === wanted,
        take: (position: number, row: number): EncodedImage | undefined => {
          const name = `${path}, row ${firstRow + position}`;
          try {
            return { image: { bytes: bytesAt(position), name }, label: labels[row] };
          } catch (error) {
            findings.unreadable(name, error);
            return undefined;
          }
        },
      };
    },
    { shuffleSeed },
  );
  for await (const image of stream) if (image) yield image;
}
