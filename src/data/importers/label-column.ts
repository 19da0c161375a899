import type { Data } from 'apache-arrow';
import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import { type ColumnPlace, column, integers, texts } from '../arrow-columns.js';
import type { ShardIndex } from '../arrow-shard.js';
import { compareCodePoints } from '../image-files.js';
import { readRows } from '../shard-rows.js';

/** The features of a Hugging Face data set by column, as `dataset_info.json` has them. */
export type Features = Readonly<Record<string, unknown>>;

/** The column that tells the class of each image. */
export interface LabelColumn {
  readonly column: string;
  readonly kind: 'ClassLabel' | 'integers' | 'strings';
  /** The classes of a ClassLabel; of the others, the values are the classes. */
  readonly names: readonly string[] | undefined;
  /** Whether a person named the column. */
  readonly isNamed: boolean;
}

/** The label of a row that has none. */
export const unlabelled = -1;
const classLimit = 1_000_000;

const classLabel = z.object({ _type: z.literal('ClassLabel'), names: z.array(z.string()) });
const imageFeature = z.object({ _type: z.literal('Image') });
const binary = z.object({ _type: z.literal('Value'), dtype: z.enum(['binary', 'large_binary']) });
const integer = z.object({ _type: z.literal('Value'), dtype: z.string().regex(/^u?int(8|16|32|64)$/) });
const string = z.object({ _type: z.literal('Value'), dtype: z.enum(['string', 'large_string']) });
const fits = (schema: z.ZodType) => (feature: unknown) => schema.safeParse(feature).success;

/**
 * The column of images: the one that is wanted, or else the only one with the feature Image.
 *
 * @throws KdSpecError `dataset-invalid` when there is no such column, or more than one
 */
export function chooseImageColumn(features: Features, wanted: string | undefined, path: string): string {
  const names = Object.keys(features);
  const images = names.filter((name) => fits(imageFeature)(features[name]));
  const binaries = names.filter((name) => fits(binary)(features[name]));
  if (wanted === undefined && images.length === 0 && binaries.length > 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of images, found bytes that may be some in ${binaries.join(', ')} (all columns: ` +
        `${names.join(', ')}): if they are encoded images, say so with --image-column ${binaries[0]}`,
    );
  }
  const allowed = wanted === undefined ? images : binaries;
  return choose([...images, ...allowed], wanted, { what: 'images', flag: '--image-column', names, path });
}

/**
 * The column of labels: the one that is wanted, or else the only ClassLabel, or else the only one of integers or strings.
 *
 * @param flag named it
 * @throws KdSpecError `dataset-invalid` when there is no such column, or more than one
 */
export function chooseLabelColumn(
  features: Features,
  wanted: string | undefined,
  path: string,
  flag: '--label-column' | '--group' = '--label-column',
): LabelColumn {
  const names = Object.keys(features);
  const labels = names.filter((name) => fits(classLabel)(features[name]));
  const values = names.filter((name) => fits(integer)(features[name]) || fits(string)(features[name]));
  const candidates = wanted !== undefined ? [...labels, ...values] : labels.length > 0 ? labels : values;
  const name = choose(candidates, wanted, {
    what: flag === '--group' ? 'groups' : 'labels',
    flag,
    names,
    path,
  });
  const isNamed = wanted !== undefined;
  const parsed = classLabel.safeParse(features[name]);
  if (parsed.success) return { column: name, kind: 'ClassLabel', names: parsed.data.names, isNamed };
  const kind = fits(integer)(features[name]) ? 'integers' : 'strings';
  return { column: name, kind, names: undefined, isNamed };
}

function choose(
  candidates: readonly string[],
  wanted: string | undefined,
  place: {
    readonly what: 'images' | 'labels' | 'groups';
    readonly flag: string;
    readonly names: readonly string[];
    readonly path: string;
  },
): string {
  const { what, flag, names, path } = place;
  const distinct = [...new Set(candidates)];
  const list = (columns: readonly string[]) => (columns.length > 0 ? columns.join(', ') : 'none');
  if (wanted !== undefined) {
    if (distinct.includes(wanted)) return wanted;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${flag} to name a column of ${what}, which are ${list(distinct)}; found "${wanted}" ` +
        `(all columns: ${list(names)})`,
    );
  }
  if (distinct.length === 1) return distinct[0];
  const advice =
    distinct.length > 1
      ? `choose one with ${flag}`
      : what === 'images'
        ? 'cast one to datasets.Image in Python, or, if the columns hold the numbers of a feature vector each, put these into one list column, features'
        : 'cast one to datasets.ClassLabel, integers or strings in Python';
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected one column of ${what}, found ${list(distinct)} (all columns: ${list(names)}): ${advice}`,
  );
}

/**
 * The classes of a label column: a ClassLabel's names, or the values that occur, integers by size and texts by code
 * points.
 *
 * @param shards of the training part
 * @throws KdSpecError `dataset-invalid` for more than a million values
 * Cost: nothing for a ClassLabel, else one pass over the shards.
 */
export async function classesOf(
  shards: readonly ShardIndex[],
  { column: name, kind, names, isNamed }: LabelColumn,
): Promise<readonly string[]> {
  if (names) return names.map((label) => label.normalize('NFC'));
  const found = new Set<string>();
  const cells = readRows(shards, (batch, path, firstRow) => {
    const cellAt = cellReader(required(column(batch, name), name, path), kind, { path, firstRow });
    return { take: (position: number) => cellAt(position) };
  });
  let labelled = 0;
  for await (const cell of cells) {
    if (cell !== undefined) labelled++;
    if (cell === undefined || found.has(cell)) continue;
    found.add(cell);
    if (found.size > classLimit) {
      throw new KdSpecError(
        'dataset-invalid',
        `${shards[0]?.path}: expected at most ${classLimit} classes, found more values in the column ${name}: ` +
          'is it a column of labels? Choose another with --label-column',
      );
    }
  }
  if (!isNamed && found.size > 1 && found.size === labelled) {
    throw new KdSpecError(
      'dataset-invalid',
      `${shards[0]?.path}: expected labels in ${name}, the only column of ${kind}, found another value in each of ` +
        `${labelled} rows: is it an id? If it is the class, say so with --label-column ${name}`,
    );
  }
  return kind === 'integers'
    ? [...found]
        .map(BigInt)
        .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
        .map(String)
    : [...found].sort(compareCodePoints);
}

/**
 * Reads the labels of a record batch.
 *
 * @param labelOf from {@link classesOf}, each class with its index
 * @returns the label at a position, {@link unlabelled} for null, -1 and empty texts; throws `dataset-invalid` with file
 *   and row for a value that is no class
 */
export function labelReader(
  data: Data,
  { column: name, kind, names }: LabelColumn,
  labelOf: ReadonlyMap<string, number>,
  place: ColumnPlace,
): (position: number) => number {
  const cellAt = cellReader(data, kind, place);
  return (position) => {
    const cell = cellAt(position);
    if (cell === undefined) return unlabelled;
    const label = names ? Number(cell) : labelOf.get(cell);
    if (label !== undefined && label >= 0 && label < labelOf.size) return label;
    throw new KdSpecError(
      'dataset-invalid',
      `${place.path}, row ${place.firstRow + position}: expected in ${name} ` +
        (names ? `a label in [0, ${labelOf.size})` : 'a class that occurs in train') +
        `, found ${cell}: remove the row`,
    );
  };
}

/** The label of a row as text; undefined for null, the integer -1 (no label, in Python) and the empty text. */
export function cellReader(
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
export function required(data: Data | undefined, name: string, path: string): Data {
  if (data) return data;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected a column ${name}, which dataset_info.json names, found none`,
  );
}
