import { KdSpecError } from '../core/errors.js';
import { areDistributions } from '../math/distribution.js';
import {
  type ColumnOutline,
  type ColumnTable,
  classNameArrays,
  openColumnTable,
  usualColumns,
  widthLimit,
} from './column-table.js';
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

const logLeast = -60; // of a probability of 0
const sumTolerance = 0.01; // of half precision
const rowsToTell = 8; // of which logits do not all sum to 1 by chance

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
  const table = await openColumnTable(path);
  try {
    const columns = chooseColumns(table, path, options);
    const numbers = [columns.features, columns.logits ?? columns.probabilities].filter(
      (name) => name !== undefined,
    );
    const widths: number[] = [];
    for (const name of numbers) widths.push(await widthOf(table, name, path));
    const width = widths.reduce((sum, one) => sum + one, 0);
    const logits = (columns.logits ?? columns.probabilities) === undefined ? 0 : (widths.at(-1) ?? 0);
    const firstRowOf = (index: number) =>
      table.batches.slice(0, index).reduce((sum, one) => sum + one.rows, 0);
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
          if (name === columns.probabilities && name !== columns.logits)
            toLogits(values, own, { path, name, firstRow: firstRowOf(index) });
          if (name === columns.logits) expectLogits(values, own, path, name);
          for (let row = 0; row < rows; row++)
            out.set(values.subarray(row * own, (row + 1) * own), row * width + offset);
          offset += own;
        }
        const bad = out.findIndex((value) => !Number.isFinite(value));
        if (bad >= 0) {
          const row = Math.floor(bad / width) + firstRowOf(index);
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

function chooseColumns(table: ColumnTable, path: string, options: FeatureTableOptions): FeatureColumns {
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
  for (const [role, found] of [
    ['features', features],
    ['logits', logits ?? probabilities],
    ['probabilities', logits ?? probabilities],
  ] as const) {
    const names: readonly string[] = usualColumns[role];
    const odd = table.columns.find(
      ({ name, kind, what = '' }) =>
        kind === 'other' && /shape|List/.test(what) && names.includes(name.toLowerCase()),
    );
    if (found !== undefined || odd === undefined) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a list of numbers for each row in ${odd.name}, found ${odd.what ?? 'others'}: of more axes make one ` +
        '(reshape(rows, -1)), or leave it out',
    );
  }
  return { features, logits, probabilities, label, group, split: find(usualColumns.split, 'texts') };
}

async function widthOf(table: ColumnTable, name: string, path: string): Promise<number> {
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

/** @throws KdSpecError `dataset-invalid` where every row is a distribution, as hardly any logits are */
function expectLogits(values: Float32Array, classes: number, path: string, name: string): void {
  if (values.length < rowsToTell * classes || !areDistributions(values, classes, sumTolerance)) return;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected logits in ${name}, found numbers that sum to 1 in each row: these are probabilities, so call the ` +
      `column ${usualColumns.probabilities[0]}`,
  );
}

/** Probabilities of whole rows, in place, as their logarithms. */
function toLogits(
  values: Float32Array,
  classes: number,
  { path, name, firstRow }: { readonly path: string; readonly name: string; readonly firstRow: number },
): void {
  const refuse = (start: number, found: string, advice = 'if these are logits, call the column logits') => {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected probabilities in ${name}, which sum to 1 in each row, found ${found} in row ` +
        `${firstRow + start / classes}: ${advice}`,
    );
  };
  for (let start = 0; start < values.length; start += classes) {
    let sum = 0;
    for (let at = start; at < start + classes; at++) {
      if (values[at] < 0) refuse(start, `the negative number ${values[at]}`);
      if (Number.isNaN(values[at])) refuse(start, 'something that is not a number', 'remove the row');
      sum += values[at];
      values[at] = Math.max(logLeast, Math.log(values[at]));
    }
    if (Math.abs(sum - 1) > sumTolerance)
      refuse(
        start,
        `a sum of ${Number(sum.toPrecision(6))}`,
        'divide each row by its sum or, if these are logits, call the column logits',
      );
  }
}
