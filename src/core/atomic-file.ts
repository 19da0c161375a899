import { access, constants, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KdSpecError } from './errors.js';
import { systemErrorCode, withFileErrors } from './file-error.js';
import type { JsonValue } from './json.js';
import { makeFolder } from './make-folder.js';
import { isRunning, ownIdentity } from './process-identity.js';

/**
 * Writes a file so that a reader, also after a crash, finds the old content or the new, never a part.
 *
 * The content goes into a file beside its place, is flushed to the disk, and is renamed into place; the folder is
 * made if need be, and flushed too.
 *
 * @throws KdSpecError `disk-full` or `not-readable`; the old content is then untouched
 */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  await withFileErrors(path, async () => {
    await makeFolder(dirname(path));
    try {
      const file = await open(partial, 'w');
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(partial, path);
    } catch (error) {
      await rm(partial, { force: true }).catch(() => {});
      throw error;
    }
    await flush(dirname(path));
  });
}

/**
 * Finds out before long work whether its result can be written where it is wanted; makes nothing.
 *
 * @param path of a file, or of a folder, that may not be there yet, nor the folders above it
 * @throws KdSpecError `not-readable` where something of the other kind is there, or writing is not allowed
 */
export async function expectWritable(path: string, kind: 'file' | 'folder'): Promise<void> {
  await withFileErrors(path, async () => {
    let at = path;
    for (;;) {
      const found = await stat(at).catch((error: unknown) => {
        if (systemErrorCode(error) === 'ENOENT') return undefined;
        throw error;
      });
      if (found === undefined) {
        at = dirname(at);
        continue;
      }
      const isPlace = at === path && kind === 'file';
      if (isPlace === found.isDirectory()) {
        const [expected, there] = isPlace ? ['a file', 'a folder'] : ['a folder', 'a file'];
        throw new KdSpecError(
          'not-readable',
          `${path}: expected ${expected} to write at ${at}, found ${there}: name another place`,
        );
      }
      // A file is replaced by one that is written beside it.
      await access(isPlace ? dirname(at) : at, constants.W_OK);
      return;
    }
  });
}

/**
 * Removes what {@link writeFileAtomically} left in a folder when its process was killed.
 *
 * @param options.recursive whether to look in the folders below, too; nobody may be writing there
 */
export async function dropLeftovers(folder: string, { recursive }: { recursive: boolean }): Promise<void> {
  const entries = await readdir(folder, { recursive, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile() || !/\.\d+\.partial$/.test(entry.name)) continue;
    await rm(join(entry.parentPath, entry.name), { force: true });
  }
}

/** A file that nobody has written to for so long is not being written, on whatever machine. */
const abandonedMs = 10 * 60 * 1000;

/**
 * Removes what a killed process left beside a file that it was writing, ten minutes ago or more. What a process writes
 * stays, and what may be one's of another machine on the same disk, whose processes are not seen here.
 *
 * @param path of the file, which need not be there
 */
export async function dropLeftoversOf(path: string): Promise<void> {
  const [folder, name] = [dirname(path), basename(path)];
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries) {
    const [, of, writer] = /^(.*)\.(\d+)\.partial$/.exec(entry) ?? [];
    if (of !== name && of !== `${name}.data`) continue;
    const partial = join(folder, entry);
    const written = await stat(partial).catch(() => undefined);
    const isRecent = written === undefined || Date.now() - written.mtimeMs < abandonedMs;
    if (isRecent || isRunning({ ...ownIdentity(), pid: Number(writer), started: null })) continue;
    await rm(partial, { force: true }).catch(() => {});
  }
}

/** {@link writeFileAtomically} for a value as indented JSON that ends in a line feed. */
export async function writeJsonAtomically(path: string, value: JsonValue): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

/** Waits until a file's content, or a folder's list of names, is on the disk. */
export async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems cannot flush a folder; renaming is then as durable as they make it.
    if (!(error instanceof Error && 'code' in error && (error.code === 'EINVAL' || error.code === 'EPERM'))) {
      throw error;
    }
  } finally {
    await handle.close();
  }
}
