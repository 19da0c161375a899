import { stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { partOrder } from '../arrow-folder.js';
import { folderEntries, hasImageName } from '../image-files.js';
import { ImportFindings } from '../import-report.js';
import { type SplitName, splitNames } from '../source.js';
import { splitOfName } from '../split-names.js';

const deepest = 3; // folders below the one that was named

/**
 * The files of a data set that lies in several, by part: the part is a word in the name of the file, as in
 * `train-00000-of-00003.parquet`, or else of the nearest folder that has one. Where no name has one, all are `train`.
 *
 * @param names of the files that are meant
 * @param what they are, for messages
 * @returns the paths of each part, in the order of their numbers
 * @throws KdSpecError `not-found` when there is none; `dataset-invalid` when a part is missing, or none is `train`
 */
export async function filesByPart(
  source: string,
  names: RegExp,
  what: string,
  findings: ImportFindings,
): Promise<ReadonlyMap<SplitName, readonly string[]>> {
  const info = await stat(source).catch(() => undefined);
  if (!info?.isDirectory()) return new Map([['train', [source]]]);
  const paths: string[] = [];
  await collect(source, 0);
  if (paths.length === 0)
    throw new KdSpecError('not-found', `expected ${what} in ${source}, found none: check the path`);

  const parts = new Map<SplitName | undefined, string[]>();
  for (const path of paths) {
    const part = partOf(relative(source, path).split(sep), path);
    parts.set(part, [...(parts.get(part) ?? []), path]);
  }
  const others = parts.get(undefined) ?? [];
  if (others.length === paths.length) return new Map([['train', inOrder(paths)]]);
  if (!parts.has('train')) {
    throw new KdSpecError(
      'dataset-invalid',
      `${source}: expected ${what} with train in their names, found ${basename(paths[0])} and ${paths.length - 1} others: ` +
        'rename some, or name those that are for training',
    );
  }
  if (others.length > 0)
    findings.leaveOut(`${what} whose names tell no part, beside others`, others[0], others.length);
  return new Map(
    splitNames.flatMap((split) => {
      const own = parts.get(split);
      return own ? [[split, inOrder(own)] as const] : [];
    }),
  );

  async function collect(folder: string, depth: number): Promise<void> {
    for (const { name, path, isFolder } of await folderEntries(folder, new ImportFindings())) {
      if (!isFolder && names.test(name)) paths.push(path);
      else if (isFolder && depth < deepest) await collect(path, depth + 1);
    }
  }
}

/**
 * Whether a source is a file of this name, or a folder that holds some, or folders of some, and no images beside them.
 *
 * Cost: looks into folders until the first file that decides.
 */
export async function holdsFiles(source: string, names: RegExp): Promise<boolean> {
  const info = await stat(source).catch(() => undefined);
  return info?.isDirectory() ? (await look(source, 0)) === 'found' : names.test(source);

  async function look(folder: string, depth: number): Promise<'found' | 'others' | 'nothing'> {
    const entries = await folderEntries(folder, new ImportFindings());
    const files = entries.filter(({ isFolder }) => !isFolder);
    if (files.some(({ name }) => names.test(name))) return 'found';
    if (files.some(({ name }) => hasImageName(name))) return 'others';
    for (const { path, isFolder } of entries) {
      if (!isFolder || depth === deepest) continue;
      const found = await look(path, depth + 1);
      if (found !== 'nothing') return found;
    }
    return 'nothing';
  }
}

/** The part that a path names: the word nearest to its end. */
function partOf(segments: readonly string[], path: string): SplitName | undefined {
  for (const segment of segments.toReversed()) {
    const words = segment.toLowerCase().match(/[a-z]+/g) ?? [];
    const found = new Set(words.map(splitOfName).filter((split) => split !== undefined));
    if (found.size > 1) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}: "${segment}" names ${[...found].join(' and ')}: rename it`,
      );
    }
    const [split] = found;
    if (split !== undefined) return split;
  }
  return undefined;
}

/** Files in the order of their folders, and within a folder in that of their parts, of which none may be missing. */
function inOrder(paths: readonly string[]): readonly string[] {
  const folders = [...new Set(paths.map((path) => dirname(path)))];
  return folders.flatMap((folder) => {
    const names = paths.filter((path) => dirname(path) === folder).map((path) => basename(path));
    return partOrder(names, folder, false).map((name) => join(folder, name));
  });
}
