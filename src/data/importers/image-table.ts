import { lstatSync, realpathSync } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { imagesBelow } from '../image-files.js';
import { ImportFindings } from '../import-report.js';
import type { DatasetSource, SplitName } from '../source.js';
import { findSplits, splitOfName } from '../split-names.js';
import { type DividedRows, noPartsInSplit, rowsOfSplit } from './divided-rows.js';
import type { GroupKey } from './group-key.js';
import { type Importer, importOptions, type TableOptions, tableOptions } from './importer.js';
import { labelledImages } from './labelled-images.js';
import { isTextTable, type TextRow, textRows } from './text-table.js';

/** A table and where it stands. */
interface PlacedTable {
  readonly path: string;
  /** The part that all its rows are of; none: they are of `train`, or of what its column `split` says. */
  readonly part: SplitName | undefined;
}

/** Which columns of a table hold what. */
interface Columns {
  readonly file: string;
  readonly label: string;
  readonly split: string | undefined;
  readonly group: string | undefined;
}

const fileColumns = [
  'file_name',
  'filename',
  'file',
  'filepath',
  'file_path',
  'path',
  'image',
  'image_path',
  'img',
];
const labelColumns = ['label', 'class', 'class_name', 'label_name', 'category', 'target'];
const longestName = 1024; // of a path in a table without a header
const metadataNames = /^metadata\.(csv|tsv|jsonl|ndjson)$/i;

/**
 * Imports images that a table of paths and labels names: a file `.csv`, `.tsv` or `.jsonl`; a folder of images with
 * `metadata.csv` or `metadata.jsonl`, or with one in each of its parts, as Hugging Face's ImageFolder has it; or a
 * folder with a table for each part, such as `train.csv` and `test.csv`.
 *
 * Paths are relative to the folder of their table and do not lead out of it. The path is the column `file_name` or
 * another of the usual names, the label the column `label` or another of the usual names, or the only one left;
 * `imageColumn` and `labelColumn` name others. A column `split` divides the rows where it holds names of parts. A CSV
 * file without a header is read when its first cell is the path of a file.
 *
 * @param source the path of a table or of a folder
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`
 * Cost: holds the paths, not the images.
 */
export function imageTableSource(source: string, options: TableOptions): Promise<DatasetSource> {
  return labelledImages(source, options, `Images that ${basename(source)} lists`, async (into) => {
    const paths = new Map<SplitName, string[]>();
    const seen = new Set<string>();
    const passedOver = new Set<string>();
    const tables = await findTables(source);
    const reading = { ...options, group: into.group, findings: into.findings, passedOver };
    for (const { path, part } of tables) {
      await readTable(path, part, reading, (row) => {
        if (seen.has(row.path)) into.findings.note('images that are listed more than once', row.path);
        seen.add(row.path);
        into.rows.add(row.part, row.label, row.group, row.path);
        const ofPart = paths.get(row.part) ?? [];
        paths.set(row.part, ofPart);
        ofPart.push(row.path);
      });
    }
    if (tables.some(({ path }) => path !== source))
      await countUnlisted(tables, new Set([...seen, ...passedOver]), into.findings);
    return (divided, split) => shuffledFiles(divided, paths, split, into.seed);
  });
}

/** Images in the folders of tables that no table lists. */
async function countUnlisted(
  tables: readonly PlacedTable[],
  listed: ReadonlySet<string>,
  findings: ImportFindings,
): Promise<void> {
  let realListed: Set<string> | undefined; // one image may have several paths, where there are links
  const visited = new Set<string>();
  for (const folder of new Set(tables.map(({ path }) => dirname(path)))) {
    for await (const { path } of imagesBelow(folder, { findings: new ImportFindings(), visited })) {
      if (listed.has(path)) continue;
      realListed ??= new Set([...listed].map(realPathOf));
      if (!realListed.has(realPathOf(path))) findings.leaveOut('images that no table lists', path);
    }
  }
}

function realPathOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path; // a file that is missing is found when it is read
  }
}

function shuffledFiles(
  divided: DividedRows,
  paths: ReadonlyMap<SplitName, readonly string[]>,
  split: SplitName,
  seed: number,
): readonly { readonly image: string; readonly label: number }[] {
  const { part, rows } = rowsOfSplit(divided, split);
  const files = paths.get(part) ?? [];
  const labels = divided.labels.get(part);
  const order = createRandom(seed, 'order', split).shuffle(rows);
  return Array.from(order, (row) => ({ image: files[row], label: labels?.[row] ?? -1 }));
}

/** A table of images, or a folder that has one. */
export const imageTable: Importer = {
  async recognises(source) {
    const info = await stat(source).catch(() => undefined);
    if (!info?.isDirectory()) return isTextTable(source);
    // A table beside class folders may be about something else.
    for (const { path } of await findTables(source).catch(() => [])) {
      if (await namesFiles(path)) return true;
    }
    return false;
  },
  open: (source, options) =>
    imageTableSource(source, { ...importOptions(options), ...tableOptions(options) }),
};

/** Whether a table has a column of paths by one of the usual names. */
async function namesFiles(path: string): Promise<boolean> {
  try {
    for await (const { columns } of textRows(path)) {
      return columns.some((name) => fileColumns.includes(name.toLowerCase()));
    }
  } catch {
    return false;
  }
  return false;
}

async function findTables(source: string): Promise<readonly PlacedTable[]> {
  const info = await stat(source).catch(() => undefined);
  if (!info?.isDirectory()) return [{ path: source, part: undefined }];
  const entries = await readdir(source, { withFileTypes: true });
  const own = entries.filter(({ name }) => metadataNames.test(name));
  if (own.length > 0)
    return [
      {
        path: join(
          source,
          only(
            own.map(({ name }) => name),
            source,
          ),
        ),
        part: undefined,
      },
    ];
  const folders = entries
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map(({ name }) => name);
  const found: PlacedTable[] = [];
  for (const [split, folder] of Object.entries(findSplits(folders, source))) {
    const names = (await readdir(join(source, folder)).catch(() => [])).filter((name) =>
      metadataNames.test(name),
    );
    if (names.length > 0)
      found.push({ path: join(source, folder, only(names, join(source, folder))), part: splitOfName(split) });
  }
  if (found.length > 0) return found;
  const tables = entries.filter((entry) => entry.isFile() && isTextTable(entry.name)).map(({ name }) => name);
  const stem = (name: string) => name.replace(/\.[^.]*$/, '');
  const parts = findSplits(tables.map(stem), source);
  return Object.entries(parts).map(([split, name]) => ({
    path: join(source, tables.find((table) => stem(table) === name) ?? name),
    part: splitOfName(split),
  }));
}

function only(names: readonly string[], folder: string): string {
  if (names.length === 1) return names[0];
  throw new KdSpecError(
    'dataset-invalid',
    `${folder}: expected one table, found ${names.join(' and ')}: remove one`,
  );
}

/** Reads the rows of one table. */
async function readTable(
  path: string,
  part: SplitName | undefined,
  options: Pick<TableOptions, 'imageColumn' | 'labelColumn'> & {
    readonly group: GroupKey | undefined;
    readonly findings: ImportFindings;
    /** Gets the files of rows of no part. */
    readonly passedOver: Set<string>;
  },
  take: (row: {
    readonly path: string;
    readonly part: SplitName;
    readonly label: string | undefined;
    readonly group: string | undefined;
  }) => void,
): Promise<void> {
  const { group, findings } = options;
  const folder = dirname(path);
  const real = await realpath(folder).catch(() => folder);
  let columns: Columns | undefined;
  const headerOf = (first: readonly string[]) => {
    const name = first[0];
    const canBePath = first.length >= 2 && !name.includes('\0') && name.length < longestName;
    const isFile = canBePath && lstatSync(join(folder, name), { throwIfNoEntry: false })?.isFile();
    if (!isFile) return undefined;
    findings.note(
      'a table without a header, of which the first column is the path and the second the label',
      path,
    );
    return ['path', 'label', ...first.slice(2).map((_, at) => `column ${at + 3}`)];
  };
  for await (const row of textRows(path, { headerOf })) {
    if (columns === undefined) {
      columns = chooseColumns(row, path, options);
      const hasSplit = row.columns.some((name) => name.toLowerCase() === 'split');
      if (hasSplit && columns.split === undefined && part === undefined) findings.note(noPartsInSplit, path);
    }
    const { cells, line } = row;
    const name = cells.get(columns.file);
    if (name === undefined) {
      findings.leaveOut('rows without a path', `${path}:${line}`);
      continue;
    }
    const said = columns.split === undefined ? undefined : cells.get(columns.split);
    const split = part ?? (columns.split === undefined ? 'train' : splitOfName(said ?? ''));
    if (split === undefined) {
      findings.leaveOut(`rows whose column ${columns.split} names no part`, `${path}:${line}`);
      options.passedOver.add(join(folder, name));
      continue;
    }
    const relative = insidePath(name, `${path}:${line}`);
    const file = join(folder, relative);
    expectInside(join(real, relative), real, `${path}:${line}`);
    take({
      path: file,
      part: split,
      label: cells.get(columns.label),
      group:
        columns.group !== undefined
          ? cells.get(columns.group)
          : group && 'groupOf' in group
            ? group.groupOf(relative)
            : undefined,
    });
  }
  if (columns === undefined) findings.leaveOut('tables without rows', path);
}

function chooseColumns(
  { columns: names, cells }: TextRow,
  path: string,
  {
    imageColumn,
    labelColumn,
    group,
  }: Pick<TableOptions, 'imageColumn' | 'labelColumn'> & { readonly group: GroupKey | undefined },
): Columns {
  const missing = (flag: string, what: string, candidates: readonly string[]) =>
    new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${what}, found the columns ${names.join(', ') || 'none'}` +
        `${candidates.length > 1 ? `, of which ${candidates.join(', ')} could be it` : ''}: name one with ${flag}`,
    );
  const find = (wanted: readonly string[]) =>
    wanted.flatMap((name) => names.filter((own) => own.toLowerCase() === name));
  const named = (column: string, flag: string) => {
    if (names.includes(column)) return column;
    throw missing(flag, `a column "${column}"`, []);
  };
  const [usualFile] = find(fileColumns);
  if (imageColumn === undefined && usualFile === undefined) {
    throw missing('--image-column', `a column of paths, such as ${fileColumns.slice(0, 3).join(', ')}`, []);
  }
  const file = imageColumn === undefined ? usualFile : named(imageColumn, '--image-column');
  const groupColumn = group?.kind === 'column' ? named(group.name, '--group') : undefined;
  const [split] = find(['split']).filter((name) => splitOfName(cells.get(name) ?? '') !== undefined);
  const others = names.filter((name) => name !== file && name !== groupColumn && name !== split);
  const usual = find(labelColumns).filter((name) => others.includes(name));
  const [label] =
    labelColumn !== undefined ? [named(labelColumn, '--label-column')] : usual.length > 0 ? usual : others;
  if (label === undefined || (labelColumn === undefined && usual.length !== 1 && others.length !== 1)) {
    throw missing('--label-column', 'a column of labels', usual.length > 1 ? usual : others);
  }
  return { file, label, split, group: groupColumn };
}

/**
 * A path that a table or an archive names, which must lie within its folder.
 *
 * @returns it with forward slashes, without `./`
 * @throws KdSpecError `dataset-invalid` for an absolute path and for one that leads up
 */
export function insidePath(name: string, place: string): string {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(name)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${place}: expected the path of a file, found the address ${JSON.stringify(name.slice(0, 200))}: fetch the images ` +
        'beforehand, and name the files',
    );
  }
  const parts = name.replaceAll('\\', '/').split('/');
  const isAbsolute = parts[0] === '' || /^[a-z]:$/i.test(parts[0]);
  if (!isAbsolute && !parts.includes('..') && !name.includes('\0')) {
    const kept = parts.filter((one) => one !== '' && one !== '.');
    if (kept.length > 0) return kept.join('/');
  }
  throw new KdSpecError(
    'dataset-invalid',
    `${place}: expected a path below the folder of the table, found ${JSON.stringify(name.slice(0, 200))}: ` +
      (isAbsolute
        ? 'put the table into the folder that holds the images, and write paths from there'
        : 'paths do not lead out of it; put the table into the folder that holds the images'),
  );
}

/** Links must not lead out either. */
function expectInside(file: string, root: string, place: string): void {
  let at: string;
  try {
    at = realpathSync.native(file);
  } catch {
    // What is not there is found when it is read; the folder that it would be in counts.
    const folder = dirname(file);
    if (folder !== dirname(folder) && file.startsWith(root)) expectInside(folder, root, place);
    return;
  }
  if (at === root) return;
  if (at.startsWith(root.endsWith(sep) ? root : root + sep)) return;
  throw new KdSpecError(
    'dataset-invalid',
    `${place}: ${file} is, or lies behind, a link that leads out of the folder of the table, to ${at}: copy the images, or ` +
      'put the table into the folder that holds them',
  );
}
