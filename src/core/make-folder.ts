import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { KdSpecError } from './errors.js';
import { systemErrorCode } from './file-error.js';

/**
 * Makes a folder, and those above it that are missing.
 *
 * Node's own recursive `mkdir` does not return where the file system answers that a folder it is to make does not exist,
 * as `/proc` does: it then tries the folder above, for ever. Here each folder is made once.
 *
 * @throws KdSpecError `not-readable` where a file system holds no folders; else what the file system throws
 */
export async function makeFolder(path: string): Promise<void> {
  for (const folder of await missingOf(resolve(path))) {
    try {
      await mkdir(folder);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === 'EEXIST' && (await isFolder(folder))) continue; // another process was faster
      if (code !== 'ENOENT' || !(await isFolder(dirname(folder)))) throw error;
      throw new KdSpecError(
        'not-readable',
        `${folder}: the file system of ${dirname(folder)} takes no folders: choose another place`,
        { cause: error },
      );
    }
  }
}

/** The folders on a path that are to be made, the highest first: all below the first that is there, whatever it is. */
async function missingOf(path: string): Promise<readonly string[]> {
  if (await isFolder(path)) return [];
  const missing = [path];
  for (let at = dirname(path); (await kindOf(at)) === 'none' && at !== dirname(at); at = dirname(at))
    missing.unshift(at);
  return missing;
}

async function isFolder(path: string): Promise<boolean> {
  return (await kindOf(path)) === 'folder';
}

async function kindOf(path: string): Promise<'folder' | 'other' | 'none'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return 'none';
    throw error;
  }
}
