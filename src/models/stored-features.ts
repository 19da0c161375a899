import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { withFileErrors } from '../core/file-error.js';
import { type Backbone, createBackbone } from './backbone.js';

// Every stage of a workspace sees the same images: validation is predicted for clusters, for a trial of the specialists, for
// calibration and for routing. What a foreign backbone makes of them takes nearly all of the time, and is a few hundred
// numbers.

const keyBytes = 16; // of the image's hash
const checkBytes = 8;
const mostBytes = 2 ** 30; // of a file; images beyond are computed each time
const mostImages = 2 ** 20; // whose places are held in memory, at about 100 bytes each
const readBytes = 2 ** 22; // of a file, held together while it is opened

/**
 * A backbone that keeps what it computed in a file, by the content of the image, and computes no image twice.
 *
 * The file is a row of records: 16 bytes of the SHA-256 of the image, 8 of the SHA-256 of the rest, and the features. Records
 * are appended whole; one that was torn, or is not as it was written, counts as not there. It may be deleted at any time.
 *
 * @param backbone which the result owns
 * @param path of the file, for this backbone alone: it is made with the first image
 * @returns the same features as `backbone` computed for the image when it first saw it
 * @throws KdSpecError `disk-full`, `not-readable`
 *
 * Cost: a hash of each image; the file is read once when it is opened. At most 1 GiB and 2^20 images are kept.
 */
export async function storedFeatures(backbone: Backbone, path: string): Promise<Backbone> {
  const { name, width, input, fusedBefore } = backbone;
  const recordBytes = keyBytes + checkBytes + 4 * width;
  const file = await withFileErrors(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    return open(path, 'a+');
  });
  try {
    const { places, end: first } = await withFileErrors(path, () => readRecords(file, recordBytes));
    let end = first; // where the next record goes
    const record = Buffer.alloc(recordBytes);
    /** Copies those that are stored; returns the images that are not. */
    const takeStored = async (keys: readonly string[], out: Float32Array): Promise<number[]> => {
      const missing: number[] = [];
      for (const [image, key] of keys.entries()) {
        const place = places.get(key);
        if (place !== undefined) await file.read(record, 0, recordBytes, place);
        // Another process may have appended, too, so that another record stands there.
        if (place !== undefined && isWhole(record) && keyIn(record) === key)
          bytesOf(out.subarray(image * width, (image + 1) * width)).set(
            record.subarray(keyBytes + checkBytes),
          );
        else missing.push(image);
      }
      return missing;
    };
    const append = async (records: readonly { readonly key: string; readonly values: Float32Array }[]) => {
      const room = Math.min((mostBytes - end) / recordBytes, mostImages - places.size);
      const kept = records.slice(0, Math.max(0, Math.floor(room)));
      if (kept.length === 0) return;
      await file.appendFile(Buffer.concat(kept.map(({ key, values }) => recordOf(key, values))));
      for (const { key } of kept) {
        places.set(key, end);
        end += recordBytes;
      }
    };
    return createBackbone({
      name,
      width,
      input,
      fusedBefore,
      async features({ images, count }, out) {
        const size = images.length / count;
        const imageOf = (image: number) => images.subarray(image * size, (image + 1) * size);
        const keys = Array.from({ length: count }, (_, image) => keyOf(imageOf(image)));
        const missing = await withFileErrors(path, () => takeStored(keys, out));
        if (missing.length === 0) return;
        const wanted = new Float32Array(missing.length * size);
        for (const [row, image] of missing.entries()) wanted.set(imageOf(image), row * size);
        const computed = await backbone.features({ images: wanted, count: missing.length });
        const records = missing.map((image, row) => ({
          key: keys[image],
          values: computed.subarray(row * width, (row + 1) * width),
        }));
        for (const [row, image] of missing.entries()) out.set(records[row].values, image * width);
        await withFileErrors(path, () => append(records));
      },
      dispose() {
        void file.close();
        backbone.dispose();
      },
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const keyOf = (image: Float32Array) => hash(bytesOf(image)).toString('latin1', 0, keyBytes);

const hash = (...parts: readonly Uint8Array[]) => {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest();
};

function recordOf(key: string, values: Float32Array): Buffer {
  const [head, body] = [Buffer.from(key, 'latin1'), bytesOf(values)];
  return Buffer.concat([head, hash(head, body).subarray(0, checkBytes), body]);
}

const keyIn = (record: Buffer) => record.toString('latin1', 0, keyBytes);

/** Whether a record is as it was written. */
function isWhole(record: Buffer): boolean {
  const check = hash(record.subarray(0, keyBytes), record.subarray(keyBytes + checkBytes));
  return record.subarray(keyBytes, keyBytes + checkBytes).equals(check.subarray(0, checkBytes));
}

/** Where the features of each image stand, and where the next record goes: a torn one at the end is cut off. */
async function readRecords(file: FileHandle, recordBytes: number) {
  const { size } = await file.stat();
  const end = size - (size % recordBytes);
  if (end < size) await file.truncate(end);
  const places = new Map<string, number>();
  const chunk = Buffer.alloc(Math.max(1, Math.floor(readBytes / recordBytes)) * recordBytes);
  for (let start = 0; start < end; start += chunk.length) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, end - start), start);
    for (let at = 0; at + recordBytes <= bytesRead; at += recordBytes) {
      const record = chunk.subarray(at, at + recordBytes);
      if (isWhole(record)) places.set(keyIn(record), start + at);
    }
  }
  return { places, end };
}
