import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { indexShard, type ShardIndex } from './arrow-shard.js';

/**
 * Finds and indexes the Arrow files of a folder, in the order of their names, or a single file.
 *
 * @param path an Arrow file, or a folder of `*.arrow` files
 * @param expected what the files hold, for messages
 * @throws KdSpecError `not-found`, `shard-truncated`, `shard-corrupt`, `dataset-invalid`
 */
export async function indexArrowFiles(path: string, expected: string): Promise<readonly ShardIndex[]> {
  try {
    const stats = await stat(path);
    if (!stats.isDirectory()) return [await indexShard(path)];
    const files = (await readdir(path)).filter((name) => name.endsWith('.arrow')).sort();
    if (files.length === 0) {
      throw new KdSpecError(
        'not-found',
        `expected ${expected} in ${path}, found no *.arrow file: check the path`,
      );
    }
    const shards = [];
    for (const file of files) shards.push(await indexShard(join(path, file)));
    return shards;
  } catch (error) {
    throw asFileError(error, path, expected);
  }
}
