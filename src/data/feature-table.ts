import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Data, DataType, type Schema } from 'apache-arrow';
import { KdSpecError } from '../core/errors.js';
import { halfToNumber } from '../math/half.js';
import { type ColumnPlace, column, integers, texts } from './arrow-columns.js';
import { indexShard, openShard, readBatch } from './arrow-shard.js';
import { readAllClassNames } from './class-names.js';
import { type NumpyArray, type NumpyFile, openNumpy } from './numpy-file.js';
import { openParquet } from './parquet-file.js';
import type { BatchSize } from './row-order.js';

/**
 * Rows of numbers that were computed elsewhere, such as embeddings: features, logits of a classifier for the same rows,
 * or both; with labels, and what else a column holds.
 */
export interface FeatureTable {
  readonly path: string;
  readonly rows: number;
  /** The numbers of a row: features, then logits. */
  readonly width: number;
  /** How many of them, the last, are logits. */
  readonly logits: number;
  /** Rows that are read together. */
  readonly batches: readonly BatchSize[];
  /** The names of the classes, where the file holds them. */
  readonly classNames: readonly string[] | undefined;
  /** The columns that are in use. */
  readonly columns: FeatureColumns;
  /** @returns (rows of the batch, width), finite */
  batch(index: number): Promise<Float32Array>;
  /** Streams label, group and split of every row, in order, as texts. */
  cells(): AsyncIterable<Partial<Record<'label' | 'group' | 'split', string>>>;
  close(): Promise<void>;
}

/** Which columns hold what. */
export interface FeatureColumns {
  readonly features: string | undefined;
  readonly logits: string | undefined;
  readonly probabilities: string | undefined;
  readonly label: string | undefined;
  readonly group: string | undefined;
  readonly split: string | undefined;
}

/** What a person wants of a table. */
export interface FeatureTableOptions {
  readonly features?: string | undefined;
  readonly label?: string | undefined;
  readonly group?: string | undefined;
  /** Whether rows need labels. */
  readonly isLabelled: boolean;
}

/** A file of any format: its columns, and how they are read. */
interface OpenTable {
  readonly rows: number;
  readonly batches: readonly BatchSize[];
  readonly columns: readonly ColumnOutline[];
  readonly classNames: readonly string[] | undefined;
  numbers(name: string, index: number): Promise<Float32Array>;
  texts(name: string, index: number): Promise<readonly (string | undefined)[]>;
  close(): Promise<void>;
}

interface ColumnOutline {
  readonly name: string;
  readonly kind: 'numbers' | 'texts' | 'other';
  /** Of lists of numbers, where it is known beforehand. */
  readonly width?: number | undefined;
  /** Its type or its shape, for a person. */
  readonly what?: string | undefined;
  /** Why it cannot be read. */
  readonly problem?: KdSpecError | undefined;
}

/** The names by which columns are found, the first that there is. */
export const usualColumns = {
  features: ['features', 'embeddings', 'embedding', 'feature', 'x'],
  logits: ['logits', 'scores'],
  probabilities: ['probabilities', 'probs', 'predictions'],
  label: ['label', 'labels', 'y', 'target', 'class'],
  split: ['split'],
} as const;
const classNameArrays = ['classes', 'class_names', 'names'];
const batchRows = 256;
const widthLimit = 65_536;
const logLeast = -60; // of a probability of 0
const sumTolerance = 0.01; // of half precision

/** The endings of the names of feature files. */
export const featureFileNames = /\.(npy|npz|arrow|feather)$/i;

/**
 * Opens a table of features: `.npz`; `.npy`, with `labels.npy`, `logits.npy` and `classes.txt` in the same folder, or a
 * folder of these; `.parquet` or `.arrow`, with a column of lists of numbers. Columns are found by their usual names
 * (`features` or `embeddings`, `logits`, `probabilities`, `label`, `split`).
 *
 * Probabilities become logits: their logarithms, at least -60.
 *
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: no rows are read.
 */
export async function openFeatureTable(path: string, options: FeatureTableOptions): Promise<FeatureTable> {
  const table = await openTable(path);
  try {
    const columns = chooseColumns(table, path, options);
    const numbers = [columns.features, columns.logits ?? columns.probabilities].filter(
      (name) => name !== undefined,
    );
    const widths: number[] = [];
    for (const name of numbers) widths.push(await widthOf(table, name, path));
    const width = widths.reduce((sum, one) => sum + one, 0);
    const logits = (columns.logits ?? columns.probabilities) === undefined ? 0 : (widths.at(-1) ?? 0);
    return {
      path,
      rows: table.rows,
      width,
      logits,
      batches: table.batches.map(({ rows }) => ({ rows, sizeBytes: 4 * rows * width })),
      classNames: table.classNames,
      columns,
      async batch(index) {
        const { rows } = table.batches[index];
        const out = new Float32Array(rows * width); // (rows, width)
        let offset = 0;
        for (const [which, name] of numbers.entries()) {
          const values = await table.numbers(name, index); // (rows, widths[which])
          const own = widths[which];
          if (values.length !== rows * own) {
            throw new KdSpecError(
              'dataset-invalid',
              `${path}: expected ${own} numbers in each row of ${name}, found ${values.length} in ${rows} rows`,
            );
          }
          if (name === columns.probabilities && name !== columns.logits) toLogits(values, own, path, name);
          for (let row = 0; row < rows; row++)
            out.set(values.subarray(row * own, (row + 1) * own), row * width + offset);
          offset += own;
        }
        const bad = out.findIndex((value) => !Number.isFinite(value));
        if (bad >= 0) {
          const row =
            Math.floor(bad / width) + table.batches.slice(0, index).reduce((sum, one) => sum + one.rows, 0);
          throw new KdSpecError(
            'dataset-invalid',
            `${path}, row ${row}: expected finite numbers, found ${out[bad]}: remove the row`,
          );
        }
        return out;
      },
      async *cells() {
        for (const index of table.batches.keys()) {
          const found: Partial<Record<'label' | 'group' | 'split', readonly (string | undefined)[]>> = {};
          for (const key of ['label', 'group', 'split'] as const) {
            const name = columns[key];
            if (name !== undefined) found[key] = await table.texts(name, index);
          }
          for (let row = 0; row < table.batches[index].rows; row++) {
            const [label, group, split] = [found.label?.[row], found.group?.[row], found.split?.[row]];
            yield {
              ...(label !== undefined && { label }),
              ...(group !== undefined && { group }),
              ...(split !== undefined && { split }),
            };
          }
        }
      },
      close: () => table.close(),
    };
  } catch (error) {
    await table.close();
    throw error;
  }
}

function chooseColumns(table: OpenTable, path: string, options: FeatureTableOptions): FeatureColumns {
  const named = (name: string, flag: string, kind: 'numbers' | 'texts') => {
    const isThere = table.columns.some((one) => one.name === name && (one.kind === kind || kind === 'texts'));
    if (isThere) return name;
    throw missing(`a column "${name}" of ${kind === 'numbers' ? 'numbers' : 'labels'} (${flag})`);
  };
  const missing = (what: string) => {
    const all = table.columns.map(({ name, kind, width, what: type, problem }) =>
      problem
        ? `${name}, which cannot be read (${problem.message})`
        : kind === 'numbers' && width !== undefined
          ? `${name} (${width} numbers)`
          : `${name}${type === undefined ? '' : ` (${type})`}`,
    );
    return new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${what}, found ${all.join(', ') || 'nothing'}`,
    );
  };
  const known: readonly string[] = [...Object.values(usualColumns).flat(), ...classNameArrays];
  const wanted = [options.features, options.label, options.group];
  for (const { name, problem } of table.columns)
    if (problem && (known.includes(name.toLowerCase()) || wanted.includes(name))) throw problem;
  const find = (names: readonly string[], kind: ColumnOutline['kind']) =>
    names
      .map((name) => table.columns.find((one) => one.kind === kind && one.name.toLowerCase() === name)?.name)
      .find((name) => name !== undefined);
  const logits = find(usualColumns.logits, 'numbers');
  const probabilities = logits === undefined ? find(usualColumns.probabilities, 'numbers') : undefined;
  const others = table.columns.filter(
    ({ name, kind }) => kind === 'numbers' && name !== logits && name !== probabilities,
  );
  const only = others.length === 1 ? others[0].name : undefined;
  const features =
    options.features !== undefined
      ? named(options.features, '--image-column', 'numbers')
      : (find(usualColumns.features, 'numbers') ?? only);
  if (features === undefined && (logits ?? probabilities) === undefined) {
    const areApart =
      table.columns.filter(({ what }) => what !== undefined && /^(float|double)\d*$/i.test(what)).length > 1;
    throw missing(
      areApart && others.length === 0
        ? 'a column of lists of numbers, the features of a row, so join the columns of single numbers into one'
        : `features, such as a column ${usualColumns.features[0]}; choose one with --image-column`,
    );
  }
  const label =
    options.label !== undefined
      ? named(options.label, '--label-column', 'texts')
      : find(usualColumns.label, 'texts');
  const isUsable = (name: string) => table.columns.some((one) => one.name === name && one.kind === 'texts');
  if (options.isLabelled && (label === undefined || !isUsable(label))) {
    const names: readonly string[] = label === undefined ? usualColumns.label : [label.toLowerCase()];
    const odd = table.columns.find(({ name }) => names.includes(name.toLowerCase()));
    if (odd === undefined) throw missing('labels, such as a column label; choose one with --label-column');
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected labels in ${odd.name}, one integer or text a row, found ` +
        (odd.kind === 'numbers'
          ? `${odd.width ?? 'several'} numbers in each row: of one-hot labels take argmax(axis=1), of a single column [:, 0]`
          : `${odd.what ?? 'others'}: write them as plain values (astype(int) or astype(str) in Python)`),
    );
  }
  const group = options.group !== undefined ? named(options.group, '--group', 'texts') : undefined;
  return { features, logits, probabilities, label, group, split: find(usualColumns.split, 'texts') };
}

async function widthOf(table: OpenTable, name: string, path: string): Promise<number> {
  const known = table.columns.find((one) => one.name === name)?.width;
  const first = table.batches.findIndex(({ rows }) => rows > 0);
  const width =
    known ?? (first < 0 ? 0 : (await table.numbers(name, first)).length / table.batches[first].rows);
  if (Number.isInteger(width) && width >= 1 && width <= widthLimit) return width;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected rows of 1 to ${widthLimit} numbers in ${name}, found ${width}`,
  );
}

/** Probabilities of whole rows, in place, as their logarithms. */
function toLogits(values: Float32Array, classes: number, path: string, name: string): void {
  for (let start = 0; start < values.length; start += classes) {
    let sum = 0;
    for (let at = start; at < start + classes; at++) {
      sum += values[at];
      if (!(values[at] >= 0)) sum = Number.NaN;
      values[at] = Math.max(logLeast, Math.log(values[at]));
    }
    if (Math.abs(sum - 1) <= sumTolerance) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected probabilities in ${name}, which sum to 1 in each row, found a sum of ${sum}: if these are logits, call ` +
        'the column logits',
    );
  }
}

async function openTable(path: string): Promise<OpenTable> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) return openNumpyFolder(path);
  if (/\.npy$/i.test(path)) return openNumpyFolder(dirname(path), path);
  if (/\.npz$/i.test(path)) {
    const file = await openNumpy(path);
    return numpyTable(file.arrays, path, () => file.close()).catch(async (error: unknown) => {
      await file.close();
      throw error;
    });
  }
  return /\.parquet$/i.test(path) ? openParquetTable(path) : openArrowTable(path);
}

/** Arrays of one folder that belong together: the named file, or `features.npy`, and those with the names of other columns. */
async function openNumpyFolder(folder: string, named?: string): Promise<OpenTable> {
  const names = (await readdir(folder)).filter((name) => /\.npy$/i.test(name) && !name.startsWith('.'));
  const others: readonly string[] = [
    ...usualColumns.logits,
    ...usualColumns.probabilities,
    ...usualColumns.label,
    ...usualColumns.split,
    ...classNameArrays,
    'group',
    'groups',
  ];
  const stem = (name: string) => name.replace(/\.npy$/i, '').toLowerCase();
  const wanted = names.filter(
    (name) => named === undefined || name === basename(named) || others.includes(stem(name)),
  );
  const files: NumpyFile[] = [];
  try {
    for (const name of wanted) files.push(await openNumpy(join(folder, name)));
    const close = async () => void (await Promise.all(files.map((file) => file.close())));
    const table = await numpyTable(
      files.flatMap(({ arrays }) => arrays),
      named ?? folder,
      close,
    );
    const list = join(folder, 'classes.txt');
    return {
      ...table,
      classNames: table.classNames ?? (existsSync(list) ? await readAllClassNames(list) : undefined),
    };
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
}

async function numpyTable(
  arrays: readonly NumpyArray[],
  path: string,
  close: () => Promise<void>,
): Promise<OpenTable> {
  const names = arrays.find(
    ({ name, shape, kind }) =>
      kind === 'texts' && shape.length === 1 && classNameArrays.includes(name.toLowerCase()),
  );
  const isOfRows = ({ shape, problem }: NumpyArray) => !problem && shape.length >= 1 && shape.length <= 2;
  const own = arrays.filter((array) => array !== names && isOfRows(array));
  const others = arrays.filter((array) => array !== names && !isOfRows(array));
  const rows = own.find(({ shape }) => shape.length === 2)?.shape[0] ?? own[0]?.shape[0] ?? 0;
  const odd = own.find(({ shape }) => shape[0] !== rows);
  if (odd) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${rows} rows in each array, found ${odd.shape[0]} in ${odd.name}`,
    );
  }
  const sizes = Array.from({ length: Math.ceil(rows / batchRows) }, (_, at) => ({
    rows: Math.min(batchRows, rows - at * batchRows),
    sizeBytes: 0,
  }));
  const array = (name: string) => own.find((one) => one.name === name) ?? own[0];
  return {
    rows,
    batches: sizes,
    columns: [
      ...own.map(({ name, shape, kind }) => ({
        name,
        kind:
          shape.length === 2 && kind !== 'texts'
            ? ('numbers' as const)
            : shape.length === 1 && kind !== 'floats'
              ? ('texts' as const)
              : ('other' as const),
        width: shape[1],
        what: kind,
      })),
      ...others.map(({ name, shape, problem }) => ({
        name,
        kind: 'other' as const,
        what: `a shape of (${shape.join(', ')})`,
        problem,
      })),
    ],
    classNames: names && (await names.texts(0, names.shape[0])),
    numbers: (name, index) => array(name).floats(index * batchRows, sizes[index].rows),
    texts: (name, index) => array(name).texts(index * batchRows, sizes[index].rows),
    close,
  };
}

async function openParquetTable(path: string): Promise<OpenTable> {
  const file = await openParquet(path);
  const outlines = Object.entries(file.features).map(([name, feature]) => outlineOf(name, feature));
  const names = classLabelNames(Object.values(file.features));
  return {
    rows: file.rows,
    batches: file.groups,
    columns: outlines,
    classNames: names,
    async numbers(name, index) {
      const rows = await file.readGroup(index, [name]);
      const first = file.groups.slice(0, index).reduce((sum, group) => sum + group.rows, 0);
      const lists = rows.map((row, at) => {
        const value = row[name];
        if (Array.isArray(value) || ArrayBuffer.isView(value)) return value as ArrayLike<unknown>;
        throw new KdSpecError(
          'dataset-invalid',
          `${path}, row ${first + at}: expected numbers in ${name}, found ${String(value).slice(0, 40)}: remove the row`,
        );
      });
      return flatten(lists, { path, first }, name);
    },
    async texts(name, index) {
      const rows = await file.readGroup(index, [name]);
      return rows.map((row) => textOfCell(row[name]));
    },
    close: () => file.close(),
  };
}

function outlineOf(name: string, feature: unknown): ColumnOutline {
  const { _type: type, dtype, feature: item, length } = Object(feature) as Record<string, unknown>;
  const itemType = String((Object(item) as Record<string, unknown>).dtype ?? '');
  const isNumbers = /^(float|double|u?int)/.test(itemType);
  const width = typeof length === 'number' && length > 0 ? length : undefined;
  const isText =
    type === 'ClassLabel' || (type === 'Value' && /^(u?int|string|large_string)/.test(String(dtype)));
  const what = typeof dtype === 'string' ? dtype : typeof type === 'string' ? type : undefined;
  return { name, kind: isNumbers ? 'numbers' : isText ? 'texts' : 'other', width, what };
}

/** The names of the only ClassLabel. */
function classLabelNames(features: readonly unknown[]): readonly string[] | undefined {
  const lists = features
    .map((feature) => Object(feature) as Record<string, unknown>)
    .filter(({ _type }) => _type === 'ClassLabel');
  const names: unknown = lists[0]?.names;
  const isList =
    lists.length === 1 && Array.isArray(names) && names.every((name) => typeof name === 'string');
  return isList ? names.map(String) : undefined;
}

function textOfCell(value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : String(value);
}

function flatten(
  lists: readonly ArrayLike<unknown>[],
  { path, first }: { readonly path: string; readonly first: number },
  name: string,
): Float32Array {
  const width = lists[0]?.length ?? 0;
  const out = new Float32Array(lists.length * width); // (rows, width)
  for (const [row, list] of lists.entries()) {
    if (list.length !== width) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}, row ${first + row}: expected ${width} numbers in ${name}, as in the rows before, found ${list.length}`,
      );
    }
    for (let at = 0; at < width; at++) {
      const value = list[at];
      out[row * width + at] =
        typeof value === 'number' || typeof value === 'bigint' ? Number(value) : Number.NaN;
    }
  }
  return out;
}

async function openArrowTable(path: string): Promise<OpenTable> {
  const shard = await indexShard(path);
  const handle = await openShard(path);
  const data = async (name: string, index: number): Promise<Data> => {
    const batch = await readBatch(handle, shard, shard.batches[index]);
    const found = column(batch, name);
    if (found) return found;
    throw new KdSpecError('dataset-invalid', `${path}: expected a column ${name} in each batch, found none`);
  };
  const firstRows: number[] = [];
  let rows = 0;
  for (const batch of shard.batches) {
    firstRows.push(rows);
    rows += batch.rows;
  }
  return {
    rows,
    batches: shard.batches,
    // The name of a field may be missing: then the library has null.
    columns: shard.schema.fields.map(({ name, type }) => ({ name: String(name), ...arrowKind(type) })),
    classNames: classNamesOfSchema(shard.schema),
    numbers: async (name, index) =>
      arrowNumbers(await data(name, index), shard.batches[index].rows, name, {
        path,
        firstRow: firstRows[index],
      }),
    async texts(name, index) {
      const cells = await data(name, index);
      const place = { path, firstRow: firstRows[index] };
      const at = DataType.isInt(cells.type)
        ? integers(cells, place, { nullable: true })
        : texts(cells, place);
      return Array.from({ length: shard.batches[index].rows }, (_, row) => textOfCell(at(row)));
    },
    close: () => handle.close(),
  };
}

function arrowKind(type: DataType): Omit<ColumnOutline, 'name'> {
  const isList = DataType.isList(type) || DataType.isFixedSizeList(type) || DataType.isLargeList(type);
  const item: unknown = isList ? type.valueType : undefined;
  if (DataType.isFloat(item) || DataType.isInt(item)) {
    return { kind: 'numbers', width: DataType.isFixedSizeList(type) ? type.listSize : undefined };
  }
  const isText =
    DataType.isInt(type) || DataType.isUtf8(type) || DataType.isLargeUtf8(type) || DataType.isUtf8View(type);
  const what = DataType.isDictionary(type) ? 'categories (a dictionary-encoded column)' : String(type);
  return { kind: isText ? 'texts' : 'other', what };
}

function classNamesOfSchema(schema: Schema): readonly string[] | undefined {
  try {
    return classLabelNames(
      Object.values(JSON.parse(schema.metadata.get('huggingface') ?? '{}')?.info?.features ?? {}),
    );
  } catch {
    return undefined;
  }
}

function arrowNumbers(data: Data, rows: number, name: string, { path, firstRow }: ColumnPlace): Float32Array {
  const child = data.children[0];
  if (data.nullCount > 0 || child === undefined || child.nullCount > 0) {
    const first = Array.from({ length: rows }).findIndex((_, row) => !data.getValid(row));
    throw new KdSpecError(
      'dataset-invalid',
      `${path}${data.nullCount > 0 && first >= 0 ? `, row ${firstRow + first}` : ''}: expected numbers in every row of ` +
        `${name}, found null: remove these rows`,
    );
  }
  const listSize: number = DataType.isFixedSizeList(data.type) ? data.type.listSize : 0;
  const offsetAt = (row: number) => (listSize > 0 ? row * listSize : Number(data.valueOffsets[row]));
  const width = rows > 0 ? offsetAt(1) - offsetAt(0) : listSize;
  const values: ArrayLike<number | bigint> = child.values;
  const isHalf = DataType.isFloat(child.type) && child.type.precision === 0;
  if (!(width >= 0 && width <= widthLimit && offsetAt(rows) <= values.length)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected rows of at most ${widthLimit} numbers in ${name}, found ${width}`,
    );
  }
  const out = new Float32Array(rows * width); // (rows, width)
  for (let row = 0; row < rows; row++) {
    const start = offsetAt(row);
    if (offsetAt(row + 1) - start !== width || start < 0) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}, row ${firstRow + row}: expected ${width} numbers in ${name}, as in the rows before, found ` +
          `${offsetAt(row + 1) - start}`,
      );
    }
    for (let at = 0; at < width; at++) {
      const value = Number(values[start + at]);
      out[row * width + at] = isHalf ? halfToNumber(value) : value;
    }
  }
  return out;
}
