import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Data, DataType, type Schema } from 'apache-arrow';
import { KdSpecError } from '../core/errors.js';
import { halfToNumber } from '../math/half.js';
import { readBatch } from './arrow-batch.js';
import { type ColumnPlace, categories, column, integers, texts } from './arrow-columns.js';
import { indexShard, openShard } from './arrow-shard.js';
import { readAllClassNames } from './class-names.js';
import { type NumpyArray, type NumpyFile, openNumpy } from './numpy-file.js';
import { openParquet } from './parquet-file.js';
import { recordedNames } from './recorded-names.js';
import type { BatchSize } from './row-order.js';

// Tables that were made elsewhere, of NumPy, Parquet and Arrow: which columns there are, and their values batch by batch.

/** A file of any format: its columns, and how they are read. */
export interface ColumnTable {
  readonly rows: number;
  readonly batches: readonly BatchSize[];
  readonly columns: readonly ColumnOutline[];
  readonly classNames: readonly string[] | undefined;
  numbers(name: string, index: number): Promise<Float32Array>;
  texts(name: string, index: number): Promise<readonly (string | undefined)[]>;
  close(): Promise<void>;
}

/** What is known of a column before any of it is read. */
export interface ColumnOutline {
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
/** The names of arrays that hold the names of classes. */
export const classNameArrays = ['classes', 'class_names', 'names'];
/** The most numbers of a row. */
export const widthLimit = 65_536;
const batchRows = 256;

/**
 * Opens a table by the ending of its name: `.npy`, `.npz`, a folder of `.npy`, `.parquet`, or else Arrow.
 *
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`, `shard-corrupt`
 */
export async function openColumnTable(path: string): Promise<ColumnTable> {
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
async function openNumpyFolder(folder: string, named?: string): Promise<ColumnTable> {
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
): Promise<ColumnTable> {
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

async function openParquetTable(path: string): Promise<ColumnTable> {
  const file = await openParquet(path);
  const outlines = Object.entries(file.features).map(([name, feature]) => outlineOf(name, feature));
  const otherwise = classLabelNames(Object.values(file.features));
  let names: readonly string[] | undefined;
  try {
    names = recordedNames(path, file.metadata, { otherwise, code: 'dataset-invalid' });
  } catch (error) {
    await file.close();
    throw error;
  }
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

async function openArrowTable(path: string): Promise<ColumnTable> {
  const shard = await indexShard(path);
  const classNames = recordedNames(path, shard.schema.metadata, {
    otherwise: classNamesOfSchema(shard.schema),
    code: 'dataset-invalid',
  });
  const handle = await openShard(path);
  const data = async (name: string, index: number): Promise<Data> => {
    const field = shard.schema.fields.find((one) => one.name === name);
    const withDictionaries = DataType.isDictionary(field?.type);
    const batch = await readBatch(handle, shard, shard.batches[index], { withDictionaries });
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
    classNames,
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
        : DataType.isDictionary(cells.type)
          ? categories(cells, place)
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
  const cell: DataType = DataType.isDictionary(type) ? type.dictionary : type;
  const isText =
    DataType.isInt(cell) || DataType.isUtf8(cell) || DataType.isLargeUtf8(cell) || DataType.isUtf8View(cell);
  return { kind: isText ? 'texts' : 'other', what: String(type) };
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
