import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../core/atomic-file.js';
import { KdSpecError } from '../core/errors.js';
import { withFileErrors } from '../core/file-error.js';
import type { JsonObject } from '../core/json.js';
import { makeFolder } from '../core/make-folder.js';
import { classFolderOf, classNameFile } from '../data/class-folder.js';

/** Images that people gave another class, in a folder for each class: what `kd-spec dataset --source` reads. */
export interface Corrections {
  /**
   * Adds an image. One that is there already is moved to the class.
   *
   * @param bytes of an image that can be decoded
   * @param name of the class; one that no folder can have stands in a file of its folder
   * @param note what is known of it, added to `.corrections.jsonl`
   * @throws KdSpecError `disk-full`, `not-readable`
   */
  add(bytes: Uint8Array, name: string, note: JsonObject): Promise<{ file: string; isReplaced: boolean }>;
}

const journal = '.corrections.jsonl'; // a hidden file: importers of images pass it over
const hashLetters = 24;
const mostImages = 1_000_000;

/**
 * Opens a folder of corrections; makes it where there is none.
 *
 * @throws KdSpecError `not-readable`, `disk-full`
 */
export async function openCorrections(folder: string): Promise<Corrections> {
  await withFileErrors(folder, () => makeFolder(folder));
  const places = new Map<string, string>(); // by hash, the file within the folder
  for (const entry of await withFileErrors(folder, () => readdir(folder, { withFileTypes: true }))) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    for (const name of await withFileErrors(folder, () => readdir(join(folder, entry.name)))) {
      const hash = /^([0-9a-f]+)\.\w+$/.exec(name)?.[1];
      if (hash?.length === hashLetters) places.set(hash, join(entry.name, name));
    }
  }
  let last: Promise<unknown> = Promise.resolve(); // one at a time: two may bring the same image

  async function add(bytes: Uint8Array, name: string, note: JsonObject) {
    const { folder: own, needsFile } = classFolderOf(name);
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, hashLetters);
    const file = join(own, `${hash}.${endingOf(bytes)}`);
    const former = places.get(hash);
    if (former === undefined && places.size >= mostImages) {
      throw new KdSpecError(
        'disk-full',
        `expected fewer than ${mostImages} corrections in ${folder}: give the server another folder`,
      );
    }
    const path = join(folder, file);
    const isThere = former !== undefined && existsSync(join(folder, former)); // a person may have removed it meanwhile
    await withFileErrors(path, async () => {
      await makeFolder(join(folder, own));
      if (needsFile) await writeFileAtomically(join(folder, own, classNameFile), `${name}\n`);
      if (!isThere) await writeFileAtomically(path, bytes);
      else if (former !== file) await rename(join(folder, former), path);
      await appendFile(join(folder, journal), `${JSON.stringify({ file, ...note })}\n`);
    });
    places.set(hash, file);
    return { file, isReplaced: isThere };
  }
  return {
    add(bytes, name, note) {
      const mine = last.then(() => add(bytes, name, note));
      last = mine.catch(() => {});
      return mine;
    },
  };
}

/** The ending of an image's name, by its first bytes. */
function endingOf(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  if (head.startsWith('\x89PNG')) return 'png';
  if (head.startsWith('\xff\xd8')) return 'jpg';
  if (head.startsWith('GIF8')) return 'gif';
  if (head.startsWith('RIFF')) return 'webp';
  if (head.startsWith('BM')) return 'bmp';
  return head.includes('ftyp') ? 'avif' : 'tiff';
}
