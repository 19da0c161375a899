import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { flush, writeJsonAtomically } from './atomic-file.js';
import { withFileErrors } from './file-error.js';
import { damageOf, type FileHash, hashFiles } from './file-hashes.js';

/**
 * A sealed folder says of itself whether it is whole: `seal.json`, written last, holds the sha256 of every other
 * file. What is kept for going on after an interruption, such as a checkpoint, is sealed: a power cut may leave a
 * renamed folder whose files are empty, and a disk may give back other bytes than it was given.
 */
const sealFile = 'seal.json';

const sealSchema = z.object({
  files: z.array(z.object({ path: z.string(), bytes: z.number(), sha256: z.string() })),
});

/**
 * Hashes the files of a folder, waits until they are on the disk, and writes the seal.
 *
 * @throws KdSpecError `disk-full` or `not-readable`
 */
export async function sealFolder(folder: string): Promise<void> {
  await withFileErrors(folder, async () => {
    const files = await hashFiles(folder, { except: sealFile });
    await flushFolder(folder);
    await writeSeal(folder, files);
  });
}

/**
 * Writes the seal of files whose hashes are known.
 *
 * They may not be on the disk yet: after a power cut, {@link sealDamage} tells those that never arrived.
 */
export async function writeSeal(folder: string, hashes: readonly FileHash[]): Promise<void> {
  const files = hashes.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 }));
  await writeJsonAtomically(join(folder, sealFile), { files });
}

/** What is wrong with a sealed folder, in one sentence; undefined when every file reads as it was sealed. */
export async function sealDamage(folder: string): Promise<string | undefined> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(join(folder, sealFile), 'utf8'));
  } catch {
    return 'it was not completed';
  }
  const seal = sealSchema.safeParse(json);
  if (!seal.success) return `its ${sealFile} is damaged`;
  return withFileErrors(folder, () => damageOf(folder, seal.data.files, { read: 'all' }));
}

/** Waits until all files and folders under a folder, and its own list of names, are on the disk. */
export async function flushFolder(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) await flush(join(entry.parentPath, entry.name));
  await flush(folder);
}
