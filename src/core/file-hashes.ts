import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { systemErrorCode } from './file-error.js';

/** A file as it was when its folder was completed. */
export interface FileHash {
  /** Relative to the folder, with forward slashes. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /**
   * When it was last modified, as the file system says. A file that still says so is taken for untouched. Equality
   * is what counts, not order: a clock may jump.
   */
  readonly modifiedMs?: number | undefined;
}

/** A file that was hashed just now. */
export interface HashedFile extends FileHash {
  readonly modifiedMs: number;
}

/** All files under a folder but one, hashed, in order of their paths. */
export async function hashFiles(
  folder: string,
  { except }: { except: string },
): Promise<readonly HashedFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => path !== except)
    .sort();
  const files: HashedFile[] = [];
  for (const path of paths) {
    const full = join(folder, path);
    const { size, mtimeMs } = await stat(full);
    files.push({
      path: path.split(sep).join('/'),
      bytes: size,
      sha256: await hashFile(full),
      modifiedMs: mtimeMs,
    });
  }
  return files;
}

/** The sha256 of a file, in hexadecimal; streams. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** The sha256 of the lines `sha256 bytes path` of all files: equal for equal content, whatever made it and when. */
export function digestOf(files: readonly FileHash[]): string {
  const hash = createHash('sha256');
  for (const { path, bytes, sha256 } of files) hash.update(`${sha256} ${bytes} ${path}\n`);
  return hash.digest('hex');
}

/**
 * What is wrong with the files of a folder, in one sentence; undefined when nothing is.
 *
 * @param options.read `all` reads every file; `touched` only those that were modified since they were hashed, and
 * compares the size of the others
 */
export async function damageOf(
  folder: string,
  files: readonly FileHash[],
  { read }: { read: 'all' | 'touched' },
): Promise<string | undefined> {
  for (const file of files) {
    const path = join(folder, file.path);
    try {
      const { size, mtimeMs } = await stat(path);
      if (size !== file.bytes) return `${file.path} has ${size} bytes, expected ${file.bytes}`;
      if (read === 'touched' && mtimeMs === file.modifiedMs) continue;
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return `${file.path} is missing`;
      throw error;
    }
    if ((await hashFile(path)) !== file.sha256) {
      return `${file.path} does not have the content that was written`;
    }
  }
  return undefined;
}
