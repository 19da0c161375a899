import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { indexShard, type ShardIndex } from './arrow-shard.js';
import { arrowFileNames } from './dataset-files.js';

/**
 * Finds and indexes the Arrow files of a folder, in the order of their parts, or a single file.
 *
 * The order is that of the numbers in their names: `part-2` stands before `part-10`. Of files named
 * `data-00000-of-00003` all must be there, so that no rows are missing in silence.
 *
 * @param path an Arrow file, or a folder of `*.arrow` or `*.feather` files
 * @param expected what the files hold, for messages
 * @param options.isOrdered whether the order matters, and names that do not tell it are refused
 * @throws KdSpecError `not-found`, `shard-truncated`, `shard-corrupt`, `dataset-invalid`
 */
export async function indexArrowFiles(
  path: string,
  expected: string,
  { isOrdered = false }: { readonly isOrdered?: boolean } = {},
): Promise<readonly ShardIndex[]> {
  try {
    const stats = await stat(path);
    if (!stats.isDirectory()) return [await indexShard(path)];
    const files = partOrder(
      (await readdir(path)).filter((name) => arrowFileNames.test(name) && !name.startsWith('.')),
      path,
      isOrdered,
    );
    if (files.length === 0) {
      throw new KdSpecError(
        'not-found',
        `expected ${expected} in ${path}, found no *.arrow or *.feather file: check the path`,
      );
    }
    const shards = [];
    for (const file of files) shards.push(await indexShard(join(path, file)));
    return shards;
  } catch (error) {
    throw asFileError(error, path, expected);
  }
}

/** The names in the order of their parts. */
export function partOrder(names: readonly string[], path: string, isOrdered: boolean): readonly string[] {
  const [one, ...others] = names;
  const skeleton = (name: string) => name.replace(/\d+/g, '#');
  const other = others.find((name) => skeleton(name) !== skeleton(one));
  if (isOrdered && other !== undefined) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected parts whose names differ in their numbers alone, found ${one} beside ${other}, whose order is ` +
        'not known: rename them, or move those of another set away',
    );
  }
  const totals = new Set(
    names.map((name) => /-of-(\d+)/.exec(name)?.[1]).filter((total) => total !== undefined),
  );
  for (const total of totals) {
    const found = names.filter((name) => name.includes(`-of-${total}`)).length;
    if (totals.size === 1 && found === Number(total)) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${Number(total)} files named -of-${total} and no others, found ${found} of ${names.length}: ` +
        'copy the parts that are missing, and move those of another set away',
    );
  }
  return [...names].sort(compareParts);
}

/** Compares names by the numbers in them, and by code units between them. */
function compareParts(a: string, b: string): number {
  const [first, second] = [a, b].map((name) => name.split(/(\d+)/));
  for (let part = 0; part < Math.min(first.length, second.length); part++) {
    const [left, right] = [first[part], second[part]];
    if (left === right) continue;
    const isNumber = part % 2 === 1;
    const difference = isNumber ? BigInt(left) - BigInt(right) : 0n;
    if (difference !== 0n) return difference < 0n ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return first.length - second.length;
}
