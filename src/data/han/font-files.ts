import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KdSpecError } from '../../core/errors.js';
import { openFont } from './open-font.js';

/** A font file and what tells it from its siblings. */
export interface FontFile {
  readonly path: string;
  /** Name of the family that the file belongs to. */
  readonly family: string;
  /** OpenType weight, 1 to 1000; 400 is regular. */
  readonly weight: number;
  /** The inclusive ranges of code points that the package says are in this file; absent when it says nothing. */
  readonly ranges?: readonly (readonly [number, number])[];
}

const packageName = /^@[\w.-]+\/[\w.-]+$/;
const fontExtensions: ReadonlySet<string> = new Set(['.ttf', '.otf', '.ttc', '.otc', '.woff', '.woff2']);
const regularWeight = 400;

/**
 * The font files that an entry of a font list stands for.
 *
 * @param entry an npm package of the `@fontsource` kind, a font file, or a folder that is searched for font files
 * @param folder where the search for `node_modules` begins and relative paths start
 * @returns at least one file; `undefined` when `entry` is a package that is not installed
 * @throws KdSpecError `font-unusable` when a path does not exist, or holds no font
 */
export async function findFontFiles(entry: string, folder: string): Promise<readonly FontFile[] | undefined> {
  const path = resolve(folder, entry);
  if (packageName.test(entry) && !existsSync(path)) {
    const installed = findPackage(entry, folder);
    return installed === undefined ? undefined : filesOfPackage(entry, installed);
  }
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) {
    throw new KdSpecError(
      'font-unusable',
      `expected a font file, a folder of font files, or an npm package such as @fontsource/yomogi, ` +
        `but there is nothing at ${path}: check the entry '${entry}' of the font list`,
    );
  }
  const paths = found.isDirectory() ? await fontPathsIn(path) : [path];
  if (paths.length === 0) {
    throw new KdSpecError(
      'font-unusable',
      `expected font files (${[...fontExtensions].join(', ')}) in ${path} or below, but found none: ` +
        `check the entry '${entry}' of the font list`,
    );
  }
  return Promise.all(
    paths.map(async (file) => {
      const font = openFont(await readFile(file), file);
      return { path: file, family: font.familyName, weight: font['OS/2'].usWeightClass };
    }),
  );
}

async function fontPathsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && fontExtensions.has(extname(entry.name).toLowerCase()))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Looks for an installed package from the working folder upwards, then from this file upwards. */
function findPackage(name: string, folder: string): string | undefined {
  for (const start of [folder, dirname(fileURLToPath(import.meta.url))]) {
    for (let current = start; ; current = dirname(current)) {
      const candidate = join(current, 'node_modules', name);
      if (existsSync(candidate)) return candidate;
      if (current === dirname(current)) break;
    }
  }
  return undefined;
}

/**
 * The upright files of one weight, the one nearest to regular.
 *
 * A family is cut into about 100 files by unicode range, numbered. A file that names a script instead of
 * carrying a number holds a part of them once more, so it counts only in a family without numbered files.
 */
async function filesOfPackage(name: string, folder: string): Promise<readonly FontFile[]> {
  const id = basename(name);
  const names = await readdir(join(folder, 'files')).catch(() => []);
  const files = names
    .filter((file) => file.startsWith(`${id}-`))
    .flatMap((file) => {
      const [, subset, weight] = /^(.+)-(\d+)-normal\.woff2$/.exec(file.slice(id.length + 1)) ?? [];
      return subset === undefined ? [] : [{ file, subset, weight: Number(weight) }];
    });
  const weight = nearestWeight(files.map((file) => file.weight));
  const upright = files.filter((file) => file.weight === weight);
  const numbered = upright.filter((file) => /^\d+$/.test(file.subset));
  const chosen = numbered.length > 0 ? numbered : upright;
  if (chosen.length === 0) {
    throw new KdSpecError(
      'font-unusable',
      `expected files named ${id}-<subset>-<weight>-normal.woff2 in ${join(folder, 'files')}, as @fontsource ` +
        `packages have them, but found none: name another family, or the font files themselves`,
    );
  }
  const ranges = await readRanges(join(folder, 'unicode.json'));
  const family = await readFamily(join(folder, 'metadata.json'), name);
  return chosen
    .sort((a, b) => Number(a.subset) - Number(b.subset) || a.subset.localeCompare(b.subset, 'en'))
    .map(({ file, subset }) => {
      const known = ranges.get(subset);
      return {
        path: join(folder, 'files', file),
        family,
        weight: weight ?? regularWeight,
        ...(known && { ranges: known }),
      };
    });
}

/** The family's own name, which its font files give too; the package's name where the package does not tell. */
async function readFamily(path: string, fallback: string): Promise<string> {
  if (!existsSync(path)) return fallback;
  const metadata: { readonly family?: string } = JSON.parse(await readFile(path, 'utf8'));
  return metadata.family ?? fallback;
}

/** The weight nearest to regular; `undefined` of none. */
export function nearestWeight(weights: readonly number[]): number | undefined {
  return weights.toSorted((a, b) => Math.abs(a - regularWeight) - Math.abs(b - regularWeight) || a - b)[0];
}

/** Reads `{ "[12]": "U+4e00-4e02,U+4e07" }`; a package without the file only makes reading slower. */
async function readRanges(path: string): Promise<Map<string, readonly (readonly [number, number])[]>> {
  if (!existsSync(path)) return new Map();
  const ranges: Record<string, string> = JSON.parse(await readFile(path, 'utf8'));
  return new Map(
    Object.entries(ranges).map(([subset, list]) => [
      subset.replace(/[[\]]/g, ''),
      list.split(',').map((range) => {
        const [first = '', last = first] = range.trim().replace(/^U\+/i, '').split('-');
        return [Number.parseInt(first, 16), Number.parseInt(last, 16)] as const;
      }),
    ]),
  );
}
