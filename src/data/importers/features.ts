import { readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { type FeatureTable, featureFileNames, openFeatureTable } from '../feature-table.js';
import { ImportFindings } from '../import-report.js';
import { openParquet } from '../parquet-file.js';
import { rowBlocks, rowsOfBlock, type ShuffleSeed } from '../row-order.js';
import { type DatasetSource, type LabelledImage, type SplitName, splitNames } from '../source.js';
import { splitOfName } from '../split-names.js';
import { noPartsInSplit, RowLabels, rowsOfSplit } from './divided-rows.js';
import { parseGroupKey } from './group-key.js';
import { type Importer, importOptions, namesOf, type TableOptions, tableOptions } from './importer.js';
import { filesByPart } from './part-files.js';

/** A file of a part, and how many rows it has. */
interface Part {
  readonly path: string;
  readonly rows: number;
}

/**
 * Imports rows of numbers that were computed elsewhere, such as embeddings of texts or sounds, with their labels; and, if
 * a classifier's logits or probabilities stand beside them, that classifier as the generalist. See `openFeatureTable`
 * for the formats. Several files are divided by their names, rows by a column `split`.
 *
 * An example is then a row: features, followed by logits.
 *
 * @param source a file `.npz`, `.npy`, `.parquet` or `.arrow`, or a folder
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`
 * Cost: one pass over labels; while rows are read, up to 64 MiB.
 */
export async function featuresSource(source: string, options: TableOptions): Promise<DatasetSource> {
  const { validationFraction = 0.1, testFraction = 0.1, seed } = options;
  const findings = new ImportFindings();
  const parts = await featurePaths(source, findings);
  const group = options.group === undefined ? undefined : parseGroupKey(options.group);
  if (group?.kind === 'path') {
    throw new KdSpecError(
      'option-invalid',
      `--group "${options.group}": expected the name of a column of ${source}`,
    );
  }
  const reading = {
    features: options.imageColumn,
    label: options.labelColumn,
    group: group?.name,
    isLabelled: true,
  };
  const open = (path: string) => openFeatureTable(path, reading);
  const rows = new RowLabels();
  const tables = new Map<SplitName, Part[]>();
  let first: FeatureTable | undefined;
  const rowsOfPart = new Map<SplitName, number[]>(); // where each row that was added stands in the files of its part
  for (const part of splitNames) {
    for (const path of parts.get(part) ?? []) {
      const table = await open(path);
      try {
        first ??= table;
        expectAlike(first, table);
        const own = tables.get(part) ?? [];
        tables.set(part, own);
        const before = own.reduce((sum, one) => sum + one.rows, 0);
        own.push({ path, rows: table.rows });
        let row = before;
        const isDivided = parts.size === 1 && (await saysSplits(table));
        for await (const { label, group: of, split } of table.cells()) {
          const target = isDivided ? splitOfName(split ?? '') : part;
          if (target === undefined)
            findings.leaveOut('rows whose column split names no part', `${path}, row ${row - before}`);
          else {
            rows.add(target, label, of);
            const ofTarget = rowsOfPart.get(target) ?? [];
            rowsOfPart.set(target, ofTarget);
            ofTarget.push(row);
          }
          row++;
        }
        if (isDivided) findings.note('rows divided by the column split', path, table.rows);
        else if (parts.size === 1 && table.columns.split !== undefined) findings.note(noPartsInSplit, path);
      } finally {
        await table.close();
      }
    }
  }
  if (first === undefined) throw new KdSpecError('not-found', `expected features in ${source}, found none`);
  const given = await namesOf(options);
  const names = given?.list ?? first.classNames;
  const { width, logits } = first;
  const columnNames = names ?? Array.from({ length: logits }, (_, label) => String(label));
  if (logits > 0 && columnNames.length !== logits) {
    throw new KdSpecError(
      'dataset-invalid',
      `${source}: expected a name for each of the ${logits} columns of logits, found ${columnNames.length}: give them with ` +
        '--class-names',
    );
  }
  const isNamed = options.classNames !== undefined;
  const from = isNamed
    ? undefined
    : names
      ? {
          what: `${names.length} classes that ${first.path} names`,
          advice: 'add it there, or remove the rows',
        }
      : {
          what: `${logits} columns of logits, which have no names and are called 0 to ${logits - 1}`,
          advice:
            'give the names in the order of the columns (--class-names FILE, an array classes, or the metadata kd-spec.names of ' +
            'Arrow and Parquet), or remove the rows',
        };
  const divided = rows.divide({
    place: source,
    names: (logits > 0 || names) && { list: columnNames, from, numbersFrom: given?.numbersFrom },
    isId:
      options.labelColumn === undefined && names === undefined ? (first.columns.label ?? 'label') : undefined,
    group: options.group,
    fractions: { validation: validationFraction, test: testFraction },
    seed,
    findings,
  });
  const { part: ofTraining, rows: trainingRows } = rowsOfSplit(divided, 'train');
  const labelsOfTraining = divided.labels.get(ofTraining);
  const occurring = new Set(Array.from(trainingRows, (row) => labelsOfTraining?.[row] ?? 0));
  // With a column split all rows lie in the files of one part.
  const filesOf = (part: SplitName) => tables.get(part) ?? [...tables.values()][0] ?? [];
  return {
    description: `${basename(source)}, rows of ${width - logits > 0 ? `${width - logits} features` : 'predictions'}`,
    classes: divided.classes,
    numbersFrom: divided.numbersFrom,
    ...(logits > 0 && { occurring }),
    image: { height: 1, width, channels: 1, isFeatures: true, ...(logits > 0 && { logits }) },
    augmentation: { kind: 'none' },
    count: (split) => rowsOfSplit(divided, split).rows.length,
    async *images(split) {
      const { part } = rowsOfSplit(divided, split);
      const wanted = splitNames.indexOf(split);
      const files = filesOf(part);
      const labels = new Int32Array(files.reduce((sum, one) => sum + one.rows, 0)).fill(-1);
      const assigned = divided.assigned.get(part);
      const ofPart = divided.labels.get(part);
      for (const [at, row] of (rowsOfPart.get(part) ?? []).entries())
        if (assigned?.[at] === wanted) labels[row] = ofPart?.[at] ?? -1;
      yield* storedRows(files, open, labels, [seed, 'order', split]);
    },
    report: () => findings.report(options.onError ?? 'stop'),
  };
}

/** A file or folder of arrays, an Arrow file, or a Parquet file without images. */
export const features: Importer = {
  async recognises(source) {
    const info = await stat(source).catch(() => undefined);
    if (info?.isDirectory()) {
      const names = await readdir(source).catch(() => []);
      return names.some((name) => /\.np[yz]$/i.test(name)) || (await holdsLists(await parquetOf(source)));
    }
    return featureFileNames.test(source) || (/\.parquet$/i.test(source) && (await holdsLists(source)));
  },
  open: (source, options) => featuresSource(source, { ...importOptions(options), ...tableOptions(options) }),
};

async function parquetOf(source: string): Promise<string | undefined> {
  const paths = await filesByPart(source, /\.parquet$/i, 'Parquet files', new ImportFindings()).catch(
    () => undefined,
  );
  return paths?.get('train')?.[0];
}

/** Whether a Parquet file has a column of lists of numbers (of integers, where embeddings are quantised), and none of images. */
async function holdsLists(path: string | undefined): Promise<boolean> {
  if (path === undefined) return false;
  const file = await openParquet(path).catch(() => undefined);
  await file?.close();
  const columns = Object.values(file?.features ?? {}).map(
    (feature) => Object(feature) as Record<string, unknown>,
  );
  const isList = ({ _type, feature }: Record<string, unknown>) =>
    (_type === 'List' || _type === 'Sequence' || _type === 'LargeList') &&
    /^(float|u?int)/.test(String((Object(feature) as Record<string, unknown>).dtype));
  return columns.some(isList) && !columns.some(({ _type, dtype }) => _type === 'Image' || dtype === 'binary');
}

/** The files of each part: one, those of a folder, or arrays of one folder, which are a single table. */
async function featurePaths(
  source: string,
  findings: ImportFindings,
): Promise<ReadonlyMap<SplitName, readonly string[]>> {
  const info = await stat(source).catch(() => undefined);
  if (!info?.isDirectory()) return new Map([['train', [source]]]);
  const names = await readdir(source);
  if (names.some((name) => /\.npy$/i.test(name))) return new Map([['train', [source]]]);
  return filesByPart(source, /\.(npz|parquet|arrow|feather)$/i, 'files of features', findings);
}

function expectAlike(first: FeatureTable, table: FeatureTable): void {
  if (table.width === first.width && table.logits === first.logits) return;
  throw new KdSpecError(
    'dataset-invalid',
    `${table.path}: expected rows of ${first.width} numbers, ${first.logits} of them logits, as in ${first.path}, found ` +
      `${table.width} and ${table.logits}`,
  );
}

/** Whether the first row's split is a part. */
async function saysSplits(table: FeatureTable): Promise<boolean> {
  if (table.columns.split === undefined) return false;
  for await (const { split } of table.cells()) return splitOfName(split ?? '') !== undefined;
  return false;
}

/** Rows of a part in a shuffled order, those that have a label here. */
async function* storedRows(
  files: readonly Part[],
  open: (path: string) => Promise<FeatureTable>,
  labels: Int32Array,
  shuffleSeed: ShuffleSeed,
): AsyncGenerator<LabelledImage> {
  const tables: FeatureTable[] = [];
  try {
    for (const { path } of files) tables.push(await open(path));
    const places: { readonly table: FeatureTable; readonly index: number; readonly first: number }[] = [];
    let first = 0;
    for (const table of tables) {
      for (const [index, { rows }] of table.batches.entries()) {
        places.push({ table, index, first });
        first += rows;
      }
    }
    const sizes = places.map(({ table, index }) => table.batches[index]);
    for (const block of rowBlocks(sizes, { shuffleSeed })) {
      const held: {
        readonly first: number;
        readonly end: number;
        readonly values: Float32Array;
        readonly width: number;
        readonly start: number;
      }[] = [];
      let end = 0;
      for (const at of block.batches) {
        const { table, index, first: row } = places[at];
        const start = end;
        end += sizes[at].rows;
        held.push({ first: row, start, end, values: await table.batch(index), width: table.width });
      }
      for (const position of rowsOfBlock(block, shuffleSeed)) {
        const batch = held.find((one) => one.end > position);
        if (batch === undefined) continue;
        const inBatch = position - batch.start;
        const label = labels[batch.first + inBatch];
        if (label < 0) continue;
        const { buffer, byteOffset } = batch.values;
        yield {
          pixels: new Uint8Array(buffer, byteOffset + 4 * inBatch * batch.width, 4 * batch.width),
          label,
        };
      }
    }
  } finally {
    for (const table of tables) await table.close();
  }
}
