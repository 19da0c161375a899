import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { parseJson } from '../../core/json-file.js';
import { column, encodedImages } from '../arrow-columns.js';
import { indexShard, type ShardIndex } from '../arrow-shard.js';
import { ImportFindings } from '../import-report.js';
import { readRows } from '../shard-rows.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { findSplits } from '../split-names.js';
import { decodeImages, type EncodedImage } from './decode-images.js';
import { divideTrain, Numbering } from './divided-rows.js';
import { reportGroups } from './group-key.js';
import { type Importer, type ImportOptions, importChoices, importOptions, withoutNull } from './importer.js';
import {
  cellReader,
  chooseImageColumn,
  chooseLabelColumn,
  classesOf,
  type LabelColumn,
  labelReader,
  required,
  unlabelled,
} from './label-column.js';

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
 * `split-names.ts`); what is missing is set aside from `train` by seed, class by class. A single data set is taken for
 * `train`.
 *
 * @param directory the folder given to `save_to_disk`
 * @param options.imageSize height and width of the result, in pixels
 * @param options.seed names the order and the splits
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: one pass over the label columns, which are held; no images.
 */
export async function huggingFaceSource(
  directory: string,
  options: HuggingFaceOptions,
): Promise<DatasetSource> {
  const { image, validationFraction, testFraction, seed } = importChoices(options);
  const findings = new ImportFindings();
  const folders = await splitFolders(directory, findings);
  const train = await openSplit(folders.train);
  const own: Partial<Record<SplitName, StoredSplit>> = {};
  for (const name of ['validation', 'test'] as const) {
    const folder = folders[name];
    const split = folder === undefined ? undefined : await openSplit(folder);
    if (split && rowCount(split) > 0) own[name] = split;
    else if (split) findings.note(`a part without rows: ${name} is set aside from train`, split.infoPath);
  }
  const imageColumn = chooseImageColumn(train.features, options.imageColumn, train.infoPath);
  const labelColumn = chooseLabelColumn(train.features, options.labelColumn, train.infoPath);
  for (const { features, infoPath } of Object.values(own)) {
    const other = chooseLabelColumn(features, labelColumn.column, infoPath);
    if (other.names?.join('\n') === labelColumn.names?.join('\n')) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${infoPath}: expected the classes of ${train.infoPath}, found others: write the parts again with the same ClassLabel`,
    );
  }
  if (labelColumn.names === undefined)
    findings.note(`a column of ${labelColumn.kind}, whose values are the classes`, labelColumn.column);
  const classes = await classesOf(train.shards, labelColumn);
  const reader: ImageReader = {
    imageColumn,
    labelColumn,
    labelOf: new Map(classes.map((name, label) => [name, label])),
    findings,
  };

  const fractions = {
    validation: own.validation ? 0 : validationFraction,
    test: own.test ? 0 : testFraction,
  };
  const isDivided = fractions.validation + fractions.test > 0;
  const rows = isDivided ? await trainRows(train, reader, options.group) : undefined;
  const splits =
    rows && divideTrain(rows.labels, fractions, { seed, groups: rows.groups, findings, place: directory });
  const partOf = (name: SplitName) => {
    const isOwn = name === 'train' ? !splits : own[name] !== undefined;
    const isIn = (row: number) => splits?.[row] === splitNames.indexOf(name);
    return { stored: own[name] ?? train, ...(!isOwn && { isIn }) };
  };
  return {
    description: `Hugging Face data set of the folder ${basename(directory)}`,
    classes,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (name) => {
      const { stored, isIn } = partOf(name);
      return isIn ? (splits?.filter((_, row) => isIn(row)).length ?? 0) : rowCount(stored);
    },
    images: (name) => {
      const { stored, isIn } = partOf(name);
      return decodeImages(storedImages(stored, reader, [seed, 'order', name], isIn), image, findings);
    },
    report: () => findings.report(options.onError ?? 'stop'),
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

function rowCount({ shards }: StoredSplit): number {
  return shards.reduce((sum, { rows }) => sum + rows, 0);
}

/** What is needed to take images out of record batches. */
interface ImageReader {
  readonly imageColumn: string;
  readonly labelColumn: LabelColumn;
  readonly labelOf: ReadonlyMap<string, number>;
  readonly findings: ImportFindings;
}

/** The label of every training row, and its group where groups are wanted. */
async function trainRows(
  train: StoredSplit,
  { labelColumn, labelOf, findings }: ImageReader,
  group: string | undefined,
): Promise<{ readonly labels: Int32Array; readonly groups: Int32Array | undefined }> {
  const key = group === undefined ? undefined : columnGroup(group, train);
  const labels = new Int32Array(rowCount(train));
  const groups = new Int32Array(key === undefined ? 0 : labels.length);
  const numbers = new Numbering();
  const stream = readRows(train.shards, (batch, path, firstRow) => {
    const place = { path, firstRow };
    const data = required(column(batch, labelColumn.column), labelColumn.column, path);
    const labelAt = labelReader(data, labelColumn, labelOf, place);
    const groupAt = key && cellReader(required(column(batch, key.name), key.name, path), key.kind, place);
    return {
      take: (position: number, row: number) => {
        const label = labelAt(position);
        if (label === unlabelled)
          findings.leaveOut('rows without a label', `${path}, row ${firstRow + position}`);
        return { row, label, group: groupAt?.(position) };
      },
    };
  });
  for await (const { row, label, group: name } of stream) {
    labels[row] = label;
    if (key === undefined) continue;
    groups[row] = name === undefined || name === '' ? -1 : numbers.numberOf(name);
  }
  if (group !== undefined) {
    const parts = new Map([['train', groups] as const]);
    reportGroups(parts, { group, names: numbers.texts, unit: 'rows', example: train.infoPath, findings });
  }
  return { labels, groups: key && groups };
}

/** The column that `--group` names. */
function columnGroup(
  group: string,
  { features, infoPath }: StoredSplit,
): { readonly name: string; readonly kind: LabelColumn['kind'] } {
  const { column: name, kind } = chooseLabelColumn(features, group, infoPath, '--group');
  return { name, kind };
}

/** The encoded images of a split in a shuffled order; rows without a label are left out. */
async function* storedImages(
  { shards }: StoredSplit,
  { imageColumn, labelColumn, labelOf, findings }: ImageReader,
  shuffleSeed: readonly (string | number)[],
  isIn: ((row: number) => boolean) | undefined,
): AsyncGenerator<EncodedImage> {
  const stream = readRows(
    shards,
    (batch, path, firstRow) => {
      const place = { path, firstRow };
      const bytesAt = encodedImages(required(column(batch, imageColumn), imageColumn, path), place);
      const labels = required(column(batch, labelColumn.column), labelColumn.column, path);
      const labelAt = labelReader(labels, labelColumn, labelOf, place);
      return {
        take: (position: number, row: number): EncodedImage | undefined => {
          if (isIn && !isIn(row)) return undefined;
          const label = labelAt(position);
          const name = `${path}, row ${firstRow + position}`;
          if (label === unlabelled) {
            findings.leaveOut('rows without a label', name);
            return undefined;
          }
          try {
            return { image: { bytes: bytesAt(position), name }, label };
          } catch (error) {
            findings.unreadable(name, error);
            return undefined;
          }
        },
      };
    },
    { shuffleSeed },
  );
  for await (const stored of stream) if (stored) yield stored;
}
