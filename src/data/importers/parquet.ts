import { basename, dirname } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { readAllClassNames } from '../class-names.js';
import { ImportFindings } from '../import-report.js';
import { openParquet, type ParquetFile } from '../parquet-file.js';
import { rowBlocks, rowsOfBlock, type ShuffleSeed } from '../row-order.js';
import type { DatasetSource, SplitName } from '../source.js';
import { splitNames } from '../source.js';
import { decodeImages, type EncodedImage } from './decode-images.js';
import { type DividedRows, RowLabels, rowsOfSplit } from './divided-rows.js';
import { parseGroupKey } from './group-key.js';
import { type Importer, importChoices, importOptions, type TableOptions, tableOptions } from './importer.js';
import { chooseImageColumn, chooseLabelColumn, type LabelColumn } from './label-column.js';
import { filesByPart, holdsFiles } from './part-files.js';

const parquetNames = /\.parquet$/i;

/** The files of each part, open. */
export type ParquetParts = ReadonlyMap<SplitName, readonly ParquetFile[]>;

/**
 * Imports Parquet files as they lie on the Hugging Face Hub, or as other programs write them: a file, or a folder such
 * as `data/` with `train-00000-of-00003.parquet`. Images are encoded files in the column, struct<bytes, path> or binary.
 * Columns are found as in a data set of `save_to_disk`: by the features that `datasets` writes into the file, else by
 * their types.
 *
 * @param source a Parquet file, or a folder of them
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: one pass over the column of labels. While images are read, about 64 MiB of row groups, or one that is larger.
 */
export async function parquetSource(source: string, options: TableOptions): Promise<DatasetSource> {
  const { image, validationFraction, testFraction, onError, seed } = importChoices(options);
  const findings = new ImportFindings();
  const paths = await parquetPaths(source, findings);
  const first = await withFile(paths.get('train')?.[0] ?? source, async (file) => file.features);
  const place = paths.get('train')?.[0] ?? source;
  const imageColumn = chooseImageColumn(first, options.imageColumn, place, findings);
  const { divided } = await divideParquet(paths, {
    ...options,
    findings,
    source,
    fractions: { validation: validationFraction, test: testFraction },
  });
  return {
    description: `Parquet data set ${basename(source)}`,
    classes: divided.classes,
    numbersFrom: divided.numbersFrom,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (split) => rowsOfSplit(divided, split).rows.length,
    images: (split) =>
      decodeImages(
        storedImages(divided, paths, imageColumn, split, [seed, 'order', split], findings),
        image,
        findings,
      ),
    report: () => findings.report(onError),
  };
}

/** A Parquet file, or a folder that holds some. */
export const parquet: Importer = {
  recognises: (source) => holdsFiles(source, parquetNames),
  open: (source, options) => parquetSource(source, { ...importOptions(options), ...tableOptions(options) }),
};

/**
 * The Parquet files of each part.
 *
 * @throws KdSpecError `dataset-invalid` also when those of a part lie in several folders: these are several data sets
 */
export async function parquetPaths(
  source: string,
  findings: ImportFindings,
): Promise<ReadonlyMap<SplitName, readonly string[]>> {
  const parts = await filesByPart(source, parquetNames, 'Parquet files', findings);
  for (const [part, paths] of parts) {
    const folders = [...new Set(paths.map((path) => dirname(path)))];
    if (folders.length < 2) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${source}: expected one data set, found the ${part} part in ${folders.join(' and ')}: name one of these folders`,
    );
  }
  return parts;
}

/**
 * Reads labels and groups of all rows, and divides them.
 *
 * @throws KdSpecError `dataset-invalid` also when files differ in their columns of labels
 */
export async function divideParquet(
  paths: ReadonlyMap<SplitName, readonly string[]>,
  {
    labelColumn: wanted,
    group,
    classNames,
    numbersFrom,
    fractions,
    seed,
    findings,
    source,
  }: Pick<TableOptions, 'labelColumn' | 'group' | 'classNames' | 'numbersFrom' | 'seed'> & {
    readonly fractions: { readonly validation: number; readonly test: number };
    readonly findings: ImportFindings;
    readonly source: string;
  },
): Promise<{ readonly divided: DividedRows; readonly labelColumn: LabelColumn }> {
  const rows = new RowLabels();
  let labelColumn: LabelColumn | undefined;
  let groupColumn: string | undefined;
  const ordered = splitNames.flatMap((part) => (paths.get(part) ?? []).map((path) => ({ part, path })));
  for (const { part, path } of ordered) {
    await withFile(path, async (file) => {
      const own = chooseLabelColumn(file.features, labelColumn?.column ?? wanted, path);
      if (
        labelColumn &&
        (own.kind !== labelColumn.kind || own.names?.join('\n') !== labelColumn.names?.join('\n'))
      ) {
        throw new KdSpecError(
          'dataset-invalid',
          `${path}: expected the column ${own.column} to hold what it holds in the first file, found others: write the files ` +
            'again with the same features',
        );
      }
      labelColumn ??= { ...own, isNamed: wanted !== undefined };
      if (group !== undefined) {
        const key = parseGroupKey(group);
        if (key.kind === 'path')
          throw new KdSpecError(
            'option-invalid',
            `--group "${group}": expected the name of a column of ${path}`,
          );
        groupColumn = chooseLabelColumn(file.features, key.name, path, '--group').column;
      }
      const { column, kind } = labelColumn;
      const columns = groupColumn === undefined || groupColumn === column ? [column] : [column, groupColumn];
      let row = 0;
      for (const index of file.groups.keys()) {
        for (const cells of await file.readGroup(index, columns)) {
          const at = `${path}, row ${row++}`;
          rows.add(
            part,
            cellText(cells[column], kind, at),
            groupColumn && cellText(cells[groupColumn], 'any', at),
          );
        }
      }
    });
  }
  if (labelColumn === undefined)
    throw new KdSpecError('not-found', `expected Parquet files in ${source}, found none`);
  if (labelColumn.names === undefined)
    findings.note(`a column of ${labelColumn.kind}, whose values are the classes`, labelColumn.column);
  const names =
    labelColumn.names?.map((name) => name.normalize('NFC')) ??
    (classNames === undefined ? undefined : await readAllClassNames(classNames));
  const divided = rows.divide({
    place: source,
    names: names && {
      list: names,
      numbersFrom,
      areNumbered: labelColumn.names !== undefined,
      ...(labelColumn.names && {
        from: {
          what: `${names.length} names of its ClassLabel`,
          advice: 'remove the rows, or write them again',
        },
      }),
    },
    isId: !labelColumn.isNamed && labelColumn.names === undefined ? labelColumn.column : undefined,
    group,
    fractions,
    seed,
    findings,
  });
  return { divided, labelColumn };
}

/** Opens a file for a piece of work. */
export async function withFile<T>(path: string, work: (file: ParquetFile) => Promise<T>): Promise<T> {
  const file = await openParquet(path);
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

/** A label or a group as text; undefined where there is none. */
function cellText(value: unknown, kind: LabelColumn['kind'] | 'any', place: string): string | undefined {
  if (value === null || value === undefined) return undefined;
  const isText = typeof value === 'string';
  const isWhole = typeof value === 'bigint' || Number.isSafeInteger(value);
  if (kind === 'any' ? isText || isWhole : kind === 'strings' ? isText : isWhole) return String(value);
  throw new KdSpecError(
    'dataset-invalid',
    `${place}: expected ${kind === 'strings' ? 'a text' : 'a whole number'}, found ${String(value).slice(0, 80)}`,
  );
}

/** The rows of a part in the written order or shuffled, with their number in the part. */
export async function* parquetRows(
  paths: readonly string[],
  columns: readonly string[],
  shuffleSeed: ShuffleSeed | undefined,
): AsyncGenerator<{
  readonly row: number;
  readonly name: string;
  readonly cells: Readonly<Record<string, unknown>>;
}> {
  const places: {
    readonly path: string;
    readonly group: number;
    readonly first: number;
    readonly firstOfFile: number;
  }[] = [];
  const sizes: { readonly rows: number; readonly sizeBytes: number }[] = [];
  let first = 0;
  for (const path of paths) {
    const groups = await withFile(path, async (file) => file.groups);
    let firstOfFile = 0;
    for (const [group, size] of groups.entries()) {
      places.push({ path, group, first, firstOfFile });
      sizes.push(size);
      first += size.rows;
      firstOfFile += size.rows;
    }
  }
  for (const block of rowBlocks(sizes, { shuffleSeed })) {
    const held: {
      readonly row: number;
      readonly name: string;
      readonly cells: Readonly<Record<string, unknown>>;
    }[] = [];
    for (const index of block.batches) {
      const place = places[index];
      const rows = await withFile(place.path, (file) => file.readGroup(place.group, columns));
      for (const [at, cells] of rows.entries())
        held.push({ row: place.first + at, name: `${place.path}, row ${place.firstOfFile + at}`, cells });
    }
    for (const position of rowsOfBlock(block, shuffleSeed)) yield held[position];
  }
}

async function* storedImages(
  divided: DividedRows,
  paths: ReadonlyMap<SplitName, readonly string[]>,
  column: string,
  split: SplitName,
  shuffleSeed: ShuffleSeed,
  findings: ImportFindings,
): AsyncGenerator<EncodedImage> {
  const { part } = rowsOfSplit(divided, split);
  const wanted = splitNames.indexOf(split);
  const splits = divided.assigned.get(part);
  const labels = divided.labels.get(part);
  if (!splits || !labels) return;
  for await (const { row, name, cells } of parquetRows(paths.get(part) ?? [], [column], shuffleSeed)) {
    if (splits[row] !== wanted) continue;
    const bytes = imageBytes(cells[column]);
    if (bytes) yield { image: { bytes, name }, label: labels[row] };
    else {
      findings.unreadable(
        name,
        new KdSpecError(
          'image-empty',
          `${name}: expected the bytes of an image, found ${withoutBytes(cells[column])}`,
        ),
      );
    }
  }
}

/** What a cell holds in place of an image, and what helps. */
function withoutBytes(cell: unknown): string {
  const path: unknown = Object(cell).path;
  return typeof path === 'string'
    ? `the path ${JSON.stringify(path.slice(0, 200))} alone: embed the images (push_to_hub does), or give a table of paths ` +
        'and labels (.csv) in the folder that holds them'
    : 'none: add it, or remove the row';
}

/** The encoded image of a cell: bytes, or the bytes of a struct. */
function imageBytes(cell: unknown): Uint8Array | undefined {
  const bytes: unknown = cell instanceof Uint8Array ? cell : Object(cell).bytes;
  return bytes instanceof Uint8Array && bytes.length > 0 ? bytes : undefined;
}
