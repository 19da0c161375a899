import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { ImageShape } from '../data/source.js';

const maxInputBytes = 256 * 2 ** 20; // of standard input

/** An image to classify: where it is from, and what to read. */
export interface Query {
  readonly path: string;
  readonly image: string | Uint8Array;
}

/** An image that could not be classified. */
export interface Failure {
  readonly path: string;
  readonly error: KdSpecError;
}

/**
 * What words on the command line mean: images, folders of images, or, for a model that takes features, files of rows.
 *
 * @param words paths; `-` is standard input
 * @param image what the model takes
 * @returns in the order of the words, the images of a folder by name; what cannot be read is a failure of its own
 */
export function queriesOf(
  words: readonly string[],
  image: ImageShape,
  stdin: AsyncIterable<Uint8Array>,
): AsyncIterable<Query | Failure> {
  return image.isFeatures ? rowsOf(words, stdin, image) : imagesOf(words, stdin);
}

/** What happened to an image, with the place it came from: bytes have no path. */
export function failureOf(path: string, error: KdSpecError): Failure {
  const { code, message, cause } = error;
  return {
    path,
    error: path === '-' ? new KdSpecError(code, `standard input: ${message}`, { cause }) : error,
  };
}

/** Items in groups of a size; the last may be smaller. */
export async function* inGroups<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<readonly T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** The images that words on the command line mean: those in a folder, by name; a file is itself. */
async function* imagesOf(
  words: readonly string[],
  stdin: AsyncIterable<Uint8Array>,
): AsyncGenerator<Query | Failure> {
  const { listImages } = await import('../data/image-files.js');
  for (const path of words) {
    try {
      if (path === '-') yield { path, image: await readAll(stdin) };
      else if (!(await stat(path).catch(() => undefined))?.isDirectory()) yield { path, image: path };
      else for (const image of await listImages(path)) yield { path: image, image };
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      yield failureOf(path, error);
    }
  }
}

function takesNoImages(word: string, width: number): KdSpecError {
  return new KdSpecError(
    'image-shape',
    `${word}: expected a file of rows of ${width} numbers (.npz, .npy, .parquet, .arrow), since the data set has features ` +
      'and no images: give the features that your model computes for the image',
  );
}

/** The rows of the files of features that words on the command line mean. */
async function* rowsOf(
  words: readonly string[],
  stdin: AsyncIterable<Uint8Array>,
  { width, logits = 0 }: ImageShape,
): AsyncGenerator<Query | Failure> {
  const { openFeatureTable } = await import('../data/feature-table.js');
  const { imageNames } = await import('../data/image-files.js');
  const { keepStandardInput } = await import('../data/standard-input.js');
  for (const word of words) {
    const kept = word === '-' ? await mkdtemp(join(tmpdir(), 'kd-spec-infer-')) : undefined;
    try {
      if (imageNames.test(word)) throw takesNoImages(word, width);
      const path = kept === undefined ? word : await keepStandardInput(stdin, kept);
      const table = await openFeatureTable(path, { isLabelled: false });
      try {
        // A matrix of all numbers does not say where its logits begin; one that says so may say it otherwise.
        if (table.width !== width || (table.logits > 0 && table.logits !== logits)) {
          throw new KdSpecError(
            'image-shape',
            `${word}: expected rows of ${width} numbers, ${logits} of them logits, as in the data set, found ` +
              `${table.width}, ${table.logits} of them logits${logits > 0 ? ': features and logits are arrays of an .npz, or columns of a table' : ''}`,
          );
        }
        let row = 0;
        for (const index of table.batches.keys()) {
          const { buffer, byteOffset, byteLength } = await table.batch(index);
          for (let at = 0; at < byteLength; at += 4 * width)
            yield {
              path: `${word}, row ${row++}`,
              image: new Uint8Array(buffer, byteOffset + at, 4 * width),
            };
        }
      } finally {
        await table.close();
      }
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      yield failureOf(word, error);
    } finally {
      if (kept !== undefined) await rm(kept, { recursive: true, force: true });
    }
  }
}

/** All of a stream, unless there is no end of it. */
async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxInputBytes) {
      throw new KdSpecError(
        'image-too-large',
        `expected an image of at most ${maxInputBytes} bytes on standard input, got more: make it smaller`,
      );
    }
  }
  return Buffer.concat(chunks);
}
