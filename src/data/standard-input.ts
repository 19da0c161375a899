import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { makeFolder } from '../core/make-folder.js';

const continuation = '\xff\xff\xff\xff'; // with which a stream of Arrow begins

/**
 * Keeps what comes on standard input as a file, since it cannot be read twice: rows of features or predictions as NumPy
 * arrays, Parquet or Arrow. The file is named by its content, so that the same input is the same file.
 *
 * @param folder made when it does not exist
 * @returns the path of the file
 * @throws KdSpecError `dataset-invalid` for anything else, `disk-full`
 * Cost: streamed; a copy on disk.
 */
export async function keepStandardInput(input: AsyncIterable<Uint8Array>, folder: string): Promise<string> {
  const partial = join(folder, `${randomUUID()}.partial`);
  const hash = createHash('sha256');
  const watch = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await makeFolder(folder);
    await pipeline(input, watch, createWriteStream(partial));
    const path = join(folder, `${hash.digest('hex').slice(0, 16)}${await endingOf(partial)}`);
    await rename(partial, path);
    return path;
  } catch (error) {
    await rm(partial, { force: true });
    throw asFileError(error, folder, 'a folder to keep standard input in');
  }
}

/** The ending of the name that a file of this content has. */
async function endingOf(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(8), 0, 8, 0);
    const head = Buffer.from(buffer.subarray(0, bytesRead)).toString('latin1');
    if (head.startsWith('\x93NUMPY')) return '.npy';
    if (head.startsWith('PK')) return '.npz';
    if (head.startsWith('PAR1')) return '.parquet';
    if (head.startsWith('ARROW1') || head.startsWith(continuation)) return '.arrow';
    throw new KdSpecError(
      'dataset-invalid',
      `expected NumPy arrays, Parquet or Arrow on standard input, found ${bytesRead === 0 ? 'nothing' : 'other bytes'}: name a ` +
        'file instead',
    );
  } finally {
    await file.close();
  }
}
