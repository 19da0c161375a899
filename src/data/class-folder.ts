import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asFileError, systemErrorCode } from '../core/file-error.js';
import { splitOfName } from './split-names.js';

// In a folder of class folders a class is named by its folder. Names that no folder can have, such as `and/or`, stand in
// a file of the folder instead.

/** The file of a class folder that names its class, where the folder's own name does not. */
export const classNameFile = '.class-name';

const mostNameBytes = 200; // of 255 that file systems allow
const slugLetters = 40;

/**
 * The folder of a class: of its own name where a folder can have it and it names nothing else (a part such as `train`, a
 * hidden folder); else a readable beginning of the name and a hash, with {@link classNameFile} to be written in it.
 */
export function classFolderOf(name: string): { readonly folder: string; readonly needsFile: boolean } {
  const isFine =
    name !== '' &&
    !/[/\\\p{Cc}\p{Cs}\ufffd]/u.test(name) &&
    !/^[. ]|[. ]$/.test(name) &&
    Buffer.byteLength(name) < mostNameBytes &&
    splitOfName(name) === undefined;
  if (isFine) return { folder: name, needsFile: false };
  const readable = Array.from(name.replace(/[^\p{L}\p{M}\p{N}_-]+/gu, ' ').trim())
    .slice(0, slugLetters)
    .join('')
    .replaceAll(' ', '_');
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return { folder: `${readable || 'class'}-${hash}`, needsFile: true };
}

/**
 * The class that a folder's {@link classNameFile} names, without the end of its line.
 *
 * @returns `undefined` where there is no such file, or an empty one
 * @throws KdSpecError `not-readable`
 */
export async function classNameIn(folder: string): Promise<string | undefined> {
  const path = join(folder, classNameFile);
  try {
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '') || undefined;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw asFileError(error, path, 'the name of a class');
  }
}
