import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, gunzipSync } from 'node:zlib';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { foreignKind } from '../../core/file-kind.js';
import { createRandom } from '../../core/random.js';
import type { DatasetSource, ImageShape, LabelledImage, SplitName } from '../source.js';
import type { Importer } from './importer.js';
import { splitBySeed } from './split-by-seed.js';

/** How IDX files are imported. */
export interface IdxOptions {
  /** Share of each class of the training images set aside for validation, in [0, 1). */
  readonly validationFraction?: number;
  /** The name of each class; default its number. */
  readonly classes?: readonly string[];
  readonly seed: number;
}

interface ImageHeader {
  readonly count: number;
  readonly height: number;
  readonly width: number;
}

const imageMagic = 0x0803; // unsigned bytes, three dimensions: count, height, width
const labelMagic = 0x0801; // unsigned bytes, one dimension: count
const imageHeaderBytes = 16;
const labelHeaderBytes = 8;
/** Labels beyond this many are a bomb, not a data set. */
const labelLimitBytes = 2 ** 28;
const pixelLimit = 100e6; // of one image
/** Images that are read at once. */
const readsAhead = 64;

/**
 * Imports the four files of MNIST, Fashion-MNIST, EMNIST and their kin.
 *
 * @param directory holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
 *   `t10k-labels-idx1-ubyte`, each with or without `.gz` (a dot for the dash before `idx` is accepted)
 * @param options.validationFraction in [0, 1)
 * @param options.seed names the validation split and the order
 * @returns a source of grey images for `writeDataset`
 * @throws KdSpecError `not-found`, `dataset-invalid` naming the file and the byte
 * Cost: holds the labels. A gzipped image file is unpacked into the system's temporary folder while it is read.
 * Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
 */
export async function idxSource(
  directory: string,
  { validationFraction = 0.1, classes, seed }: IdxOptions,
): Promise<DatasetSource> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw asFileError(error, directory, "a folder with MNIST's four IDX files");
  });
  const find = (part: 'train' | 't10k', kind: 'images' | 'labels') => {
    const pattern = new RegExp(`^${part}-${kind}[-.]idx[13]-ubyte(\\.gz)?$`);
    const name = names.find((candidate) => pattern.test(candidate));
    if (name) return join(directory, name);
    throw new KdSpecError(
      'not-found',
      `expected ${part}-${kind}-idx${kind === 'images' ? 3 : 1}-ubyte or the same with .gz in ${directory}: ` +
        'put the four files of the data set there',
    );
  };
  const train = await openPart(find('train', 'images'), find('train', 'labels'));
  const test = await openPart(find('t10k', 'images'), find('t10k', 'labels'));
  if (train.header.height !== test.header.height || train.header.width !== test.header.width) {
    throw new KdSpecError('dataset-invalid', `${directory}: training and test images differ in size`);
  }

  let highest = -1;
  for (const label of [...train.labels, ...test.labels]) highest = Math.max(highest, label);
  const names_ = classes ?? Array.from({ length: highest + 1 }, (_, label) => String(label));
  if (highest >= names_.length) {
    throw new KdSpecError(
      'dataset-invalid',
      `${directory}: expected labels below ${names_.length}, found ${highest}: give a name for every class`,
    );
  }
  const split = splitBySeed(train.labels, { validation: validationFraction, test: 0 }, seed);
  const rowsOf = (name: SplitName): number[] => {
    if (name === 'test') return [...test.labels.keys()];
    return [...train.labels.keys()].filter((row) => split[row] === name);
  };
  const { height, width } = train.header;
  return {
    description: `IDX files of the folder ${basename(directory)}`,
    classes: names_,
    image: { height, width, channels: 1 } satisfies ImageShape,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (name) => rowsOf(name).length,
    images: (name) => {
      const rows = createRandom(seed, 'order', name).shuffle(rowsOf(name));
      return readImages(name === 'test' ? test : train, rows);
    },
  };
}

interface Part {
  readonly path: string;
  readonly header: ImageHeader;
  readonly labels: Uint8Array;
}

async function openPart(imagePath: string, labelPath: string): Promise<Part> {
  const header = await readHeader(imagePath);
  const labels = await readLabels(labelPath);
  if (labels.length !== header.count) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected as many labels as images, ${header.count} (${imagePath}), found ${labels.length} (${labelPath})`,
    );
  }
  return { path: imagePath, header, labels };
}

async function readLabels(path: string): Promise<Uint8Array> {
  const file = await readFile(path).catch((error: unknown) => {
    throw asFileError(error, path, 'IDX labels');
  });
  let bytes: Buffer = file;
  try {
    if (isGzip(file)) bytes = gunzipSync(file, { maxOutputLength: labelLimitBytes });
  } catch (cause) {
    throw cannotUnpack(path, cause);
  }
  checkMagic(bytes, labelHeaderBytes, labelMagic, path);
  const count = bytes.readUInt32BE(4);
  if (bytes.length === labelHeaderBytes + count) return bytes.subarray(labelHeaderBytes);
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected ${count} labels in ${labelHeaderBytes + count} bytes, found ${bytes.length}: copy it again`,
  );
}

async function readHeader(path: string): Promise<ImageHeader> {
  const isPacked = await isGzipFile(path);
  const raw = createReadStream(path);
  let stream: Readable = raw;
  if (isPacked) {
    stream = raw.pipe(createGunzip());
    raw.on('error', (error) => stream.destroy(error)); // a pipe does not pass it on
  }
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stream) {
      chunks.push(chunk);
      if (chunks.reduce((sum, { length }) => sum + length, 0) >= imageHeaderBytes) break;
    }
  } catch (cause) {
    throw cannotUnpack(path, cause);
  } finally {
    raw.destroy();
  }
  const header = Buffer.concat(chunks);
  checkMagic(header, imageHeaderBytes, imageMagic, path);
  const [count, height, width] = [4, 8, 12].map((offset) => header.readUInt32BE(offset));
  if (height >= 1 && width >= 1 && height * width <= pixelLimit) {
    return { count, height, width };
  }
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected images of 1 to ${pixelLimit} pixels, found ${height} x ${width}: copy it again`,
  );
}

/** By content: browsers unpack files and leave their names. */
function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

async function isGzipFile(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw asFileError(error, path, 'an IDX file');
  });
  try {
    const start = new Uint8Array(2);
    await file.read(start, 0, 2, 0);
    return isGzip(start);
  } finally {
    await file.close();
  }
}

function cannotUnpack(path: string, cause: unknown): KdSpecError {
  return new KdSpecError('dataset-invalid', `${path} cannot be unpacked: copy it again`, { cause });
}

function checkMagic(bytes: Buffer, headerBytes: number, magic: number, path: string): void {
  const kind = foreignKind(bytes.subarray(0, 256));
  if (kind !== undefined)
    throw new KdSpecError('dataset-invalid', `expected an IDX file at ${path}, but ${kind}`);
  const found =
    bytes.length < headerBytes ? `${bytes.length} bytes` : `0x${bytes.readUInt32BE(0).toString(16)}`;
  if (bytes.length >= headerBytes && bytes.readUInt32BE(0) === magic) return;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected an IDX file that begins with 0x${magic.toString(16)}, found ${found}: copy it again`,
  );
}

async function* readImages(
  { path, header, labels }: Part,
  rows: readonly number[],
): AsyncGenerator<LabelledImage> {
  const unpacked = (await isGzipFile(path)) ? await mkdtemp(join(tmpdir(), 'kd-spec-idx-')) : undefined;
  const plain = unpacked ? join(unpacked, 'images') : path;
  try {
    if (unpacked) {
      await pipeline(createReadStream(path), createGunzip(), createWriteStream(plain)).catch(
        (error: NodeJS.ErrnoException) => {
          if (!error.code?.startsWith('Z_')) throw asFileError(error, plain, 'room for the unpacked images');
          throw cannotUnpack(path, error);
        },
      );
    }
    const file = await open(plain, 'r');
    try {
      const imageBytes = header.height * header.width;
      const read = async (row: number): Promise<LabelledImage> => {
        const pixels = new Uint8Array(imageBytes);
        const { bytesRead } = await file.read(pixels, 0, imageBytes, imageHeaderBytes + row * imageBytes);
        if (bytesRead === imageBytes) return { pixels, label: labels[row] };
        throw new KdSpecError(
          'dataset-invalid',
          `${path}: expected ${header.count} images, found the end of the file in image ${row}: copy it again`,
        );
      };
      for (let start = 0; start < rows.length; start += readsAhead) {
        yield* await Promise.all(rows.slice(start, start + readsAhead).map(read));
      }
    } finally {
      await file.close();
    }
  } finally {
    if (unpacked) await rm(unpacked, { recursive: true, force: true });
  }
}

/** A folder with the training images of an IDX data set. */
export const idx: Importer = {
  async recognises(source) {
    const names = await readdir(source).catch(() => []);
    return names.some((name) => /^train-images[-.]idx3-ubyte(\.gz)?$/.test(name));
  },
  open: (source, { validationFraction, seed }) => idxSource(source, { validationFraction, seed }),
};
