import { KdSpecError } from '../core/errors.js';
import { type CsrMatrix, createCsrBuilder } from '../math/csr.js';
import { softmax } from '../math/softmax.js';
import { keepMass } from '../math/top-k.js';
import { usualColumns } from './column-table.js';
import { openFeatureTable } from './feature-table.js';
import { openParquet } from './parquet-file.js';
import { classLimit } from './recorded-names.js';

/** Predictions of some rows. */
export interface PredictionBatch {
  /** (rows, classes): the most probable classes of each row; a row sums to at most 1. */
  readonly probabilities: CsrMatrix;
  /** (rows), where they are known. */
  readonly labels: Int32Array | undefined;
}

/** Predictions on disk. */
export interface Predictions {
  /** The number of classes; `undefined` for files without rows that do not say it. */
  readonly classes: number | undefined;
  /** (classes), where the files name them. */
  readonly names: readonly string[] | undefined;
  readonly rowCount: number;
  /** Streams all rows, in the written order, a record batch at a time. */
  rows(): AsyncIterable<PredictionBatch>;
}

/** Of a dense prediction, the most probable classes up to this mass are kept, and at most so many. */
const keptMass = 0.999;
const keptClasses = 200;
const sumTolerance = 1e-3;
/** What helps where the probabilities of a row sum to more than 1. */
export const sumAdvice = 'divide each row by its sum or, if these are logits, store their softmax';

/** The names of columns with predictions of all classes. */
export const denseColumns: readonly string[] = [...usualColumns.logits, ...usualColumns.probabilities];

/** Whether a path is that of a table that {@link readPredictionTable} reads. */
export function isPredictionTable(path: string): boolean {
  return /\.(npy|npz|parquet)$/i.test(path);
}

/**
 * Opens predictions in NumPy arrays, Parquet or one Arrow file: `logits` or `probabilities` of all classes, a row each, of which the most
 * probable classes are kept (a mass of 0.999, at most 200); or in Parquet the sparse columns `indices` and
 * `probabilities`. `label` holds the index of the class.
 *
 * @param options.classes the number of classes; default what the file holds
 * @throws KdSpecError `predictions-invalid` naming the row; what `openFeatureTable` throws
 * Cost: a row group, or 256 rows, in memory; with sparse columns and no number of classes, one more pass.
 */
export async function readPredictionTable(
  path: string,
  options: { readonly classes?: number | undefined },
): Promise<Predictions> {
  const sparse = /\.parquet$/i.test(path) && (await hasSparseColumns(path));
  if (sparse) return readSparse(path, options.classes);
  const table = await openFeatureTable(path, { isLabelled: false });
  const { rows, width, logits: classes, classNames } = table;
  await table.close();
  if (classes === 0) {
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected an array or column called logits or probabilities, found ${width} features: rename it, or cluster ` +
        'what a generalist predicts for these features (--source)',
    );
  }
  expectClasses(path, classes, options.classes);
  return { classes, names: classNames, rowCount: rows, rows: () => denseRows(path, classes) };
}

async function* denseRows(path: string, classes: number): AsyncGenerator<PredictionBatch> {
  const table = await openFeatureTable(path, { isLabelled: false });
  try {
    const cells = table.cells()[Symbol.asyncIterator]();
    const isLabelled = table.columns.label !== undefined;
    const first = table.width - classes;
    const names = new Map(table.classNames?.map((name, label) => [name, label]));
    let row = 0;
    for (const [index, { rows }] of table.batches.entries()) {
      const values = await table.batch(index); // (rows, width)
      const kept = createCsrBuilder(classes);
      const labels = new Int32Array(isLabelled ? rows : 0);
      for (let at = 0; at < rows; at++, row++) {
        const start = at * table.width + first;
        const top = keepMass(softmax(values.subarray(start, start + classes)), keptMass, keptClasses);
        kept.addRow(top.indices, top.values, top.indices.length);
        if (!isLabelled) continue;
        const next = await cells.next();
        const text = next.done === true ? undefined : next.value.label;
        labels[at] = labelOf(text, classes, names, `${path}, row ${row}`);
      }
      yield { probabilities: kept.finish(), labels: isLabelled ? labels : undefined };
    }
  } finally {
    await table.close();
  }
}

function labelOf(
  text: string | undefined,
  classes: number,
  names: ReadonlyMap<string, number>,
  place: string,
): number {
  const label = names.get(text ?? '') ?? (/^\d{1,15}$/.test(text ?? '') ? Number(text) : Number.NaN);
  if (label < classes) return label;
  throw new KdSpecError(
    'predictions-invalid',
    `${place}: expected a label from 0 to ${classes - 1}${names.size > 0 ? ', or the name of a class' : ''}, found ` +
      `${text ?? 'none'}: remove the row, or leave out the labels, which subsets do not need`,
  );
}

async function hasSparseColumns(path: string): Promise<boolean> {
  const file = await openParquet(path);
  await file.close();
  return 'indices' in file.features && 'probabilities' in file.features;
}

async function readSparse(path: string, wanted: number | undefined): Promise<Predictions> {
  let rowCount = 0;
  let highest = -1;
  for await (const { probabilities, labels } of sparseRows(path, wanted ?? classLimit)) {
    rowCount += probabilities.rows;
    for (const index of probabilities.indices) highest = Math.max(highest, index);
    for (const label of labels ?? []) highest = Math.max(highest, label);
  }
  const classes = wanted ?? (highest < 0 ? undefined : highest + 1);
  return { classes, names: undefined, rowCount, rows: () => sparseRows(path, classes ?? 1) };
}

async function* sparseRows(path: string, classes: number): AsyncGenerator<PredictionBatch> {
  const file = await openParquet(path);
  try {
    const isLabelled = 'label' in file.features;
    const columns = ['indices', 'probabilities', ...(isLabelled ? ['label'] : [])];
    let row = 0;
    for (const group of file.groups.keys()) {
      const cells = await file.readGroup(group, columns);
      const kept = createCsrBuilder(classes);
      const labels = new Int32Array(isLabelled ? cells.length : 0);
      for (const [at, { indices, probabilities, label }] of cells.entries()) {
        const place = `${path}, row ${row++}`;
        const invalid = (what: string) => new KdSpecError('predictions-invalid', `${place}: ${what}`);
        const [of, values] = [numbers(indices), numbers(probabilities)];
        if (of === undefined || values === undefined || of.length !== values.length)
          throw invalid('expected as many probabilities as indices, in lists');
        const wrong = of.find((index) => !(Number.isInteger(index) && index >= 0 && index < classes));
        if (wrong !== undefined)
          throw invalid(`expected whole indices from 0 to ${classes - 1}, found ${wrong}`);
        if (new Set(of).size < of.length) throw invalid('expected each class once');
        const sum = values.reduce((total, value) => total + (value >= 0 ? value : Number.NaN), 0);
        if (!(sum <= 1 + sumTolerance))
          throw invalid(
            `expected probabilities that sum to at most 1, found ${Number(sum.toPrecision(6))}: ${sumAdvice}`,
          );
        kept.addRow(Int32Array.from(of), Float32Array.from(values), of.length);
        if (isLabelled) labels[at] = labelOf(String(label ?? 'none'), classes, new Map(), place);
      }
      yield { probabilities: kept.finish(), labels: isLabelled ? labels : undefined };
    }
  } finally {
    await file.close();
  }
}

function numbers(value: unknown): readonly number[] | undefined {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return undefined;
  return Array.from(value as ArrayLike<unknown>, Number);
}

function expectClasses(path: string, found: number, wanted: number | undefined): void {
  if (wanted === undefined || wanted === found) return;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}: expected predictions for ${wanted} classes, found ${found}: are they for another data set?`,
  );
}
