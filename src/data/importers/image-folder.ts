import type { Dirent } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { createRandom } from '../../core/random.js';
import { decodeImage } from '../image-codec.js';
import type { DatasetSource, ImageShape, LabelledImage, SplitName } from '../source.js';
import { splitBySeed } from './split-by-seed.js';

/** How a folder of images is imported. */
export interface ImageFolderOptions {
  /** Height and width to which images are brought, in pixels. */
  readonly imageSize: number;
  readonly channels?: 1 | 3;
  /** Share of the training images set aside for validation, where the folder has no validation split. */
  readonly validationFraction?: number;
  /** Share of all images set aside for the test, where the folder has no splits. */
  readonly testFraction?: number;
  readonly seed: number;
}

interface ImageFile {
  readonly path: string;
  readonly label: number;
}

const imageNames = /\.(png|jpe?g|webp)$/i;
/** Files that are opened ahead; enough to keep the thread pool busy. */
const filesAhead = 16;

/**
 * Imports images in folders, by torchvision's convention: each folder is a class, sorted by name.
 *
 * Either the classes stand directly in `directory` and are split by seed, class by class, or they stand in
 * `train/`, `test/` and (optionally) `validation/` or `val/`. Below a class, folders are searched too.
 *
 * @param directory the folder
 * @param options.imageSize height and width of the result, in pixels
 * @param options.channels 1 for grey, 3 for colour
 * @param options.validationFraction in [0, 1)
 * @param options.testFraction in [0, 1)
 * @param options.seed names the split and the order
 * @returns a source for `writeDataset`; its iteration stops with `image-unreadable` or `image-empty` naming the file
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`
 * Cost: holds the paths, not the images.
 *
 * @example
 * const source = await imageFolderSource('photos', { imageSize: 32, seed: 1 });
 */
export async function imageFolderSource(
  directory: string,
  { imageSize, channels = 3, validationFraction = 0.1, testFraction = 0.1, seed }: ImageFolderOptions,
): Promise<DatasetSource> {
  const image: ImageShape = { height: imageSize, width: imageSize, channels };
  const names = (await list(directory)).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const isSplit = names.includes('train');
  const classes = await classFolders(isSplit ? join(directory, 'train') : directory);
  const files = isSplit
    ? await readSplits(
        directory,
        names,
        classes,
        { validation: validationFraction, test: testFraction },
        seed,
      )
    : divide(
        await listImages(directory, classes),
        { validation: validationFraction, test: testFraction },
        seed,
      );
  if (files.train.length === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected PNG, JPEG or WebP images in the class folders of ${directory}, found none: check the path`,
    );
  }
  return {
    description: `Images of the folder ${basename(directory)}`,
    classes,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (split) => files[split].length,
    images: (split) => decodeFiles(createRandom(seed, 'order', split).shuffle([...files[split]]), image),
  };
}

type Files = Readonly<Record<SplitName, readonly ImageFile[]>>;

async function readSplits(
  directory: string,
  names: readonly string[],
  classes: readonly string[],
  fractions: { readonly validation: number; readonly test: number },
  seed: number,
): Promise<Files> {
  const validationName = names.find((name) => name === 'validation' || name === 'val');
  const hasTest = names.includes('test');
  const read = async (name: string | undefined) => (name ? listImages(join(directory, name), classes) : []);
  const [train, validation, test] = await Promise.all([
    read('train'),
    read(validationName),
    read(hasTest ? 'test' : undefined),
  ]);
  const taken = { validation: validationName ? 0 : fractions.validation, test: hasTest ? 0 : fractions.test };
  const divided = divide(train, taken, seed);
  return {
    train: divided.train,
    validation: validationName ? validation : divided.validation,
    test: hasTest ? test : divided.test,
  };
}

function divide(
  files: readonly ImageFile[],
  fractions: { readonly validation: number; readonly test: number },
  seed: number,
): Files {
  const labels = files.map(({ label }) => label);
  const splits = splitBySeed(labels, fractions, seed);
  const of = (split: SplitName) => files.filter((_, index) => splits[index] === split);
  return { train: of('train'), validation: of('validation'), test: of('test') };
}

async function list(directory: string): Promise<Dirent[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    throw asFileError(error, directory, 'a folder of class folders');
  });
  return entries.filter(({ name }) => !name.startsWith('.')).sort((a, b) => compare(a.name, b.name));
}

/** By code points, as Python sorts: not by the language of the machine. */
function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

async function classFolders(directory: string): Promise<string[]> {
  const classes = (await list(directory)).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  if (classes.length > 0) return classes;
  throw new KdSpecError('dataset-invalid', `expected a folder for each class in ${directory}, found none`);
}

async function listImages(directory: string, classes: readonly string[]): Promise<ImageFile[]> {
  const labelOf = new Map(classes.map((name, label) => [name, label]));
  const files: ImageFile[] = [];
  for (const entry of await list(directory)) {
    if (!entry.isDirectory()) continue;
    const label = labelOf.get(entry.name);
    if (label === undefined) {
      throw new KdSpecError(
        'dataset-invalid',
        `expected only classes that train has, found ${join(directory, entry.name)}: remove or rename it`,
      );
    }
    await collect(join(directory, entry.name), label, files);
  }
  return files;
}

async function collect(directory: string, label: number, files: ImageFile[]): Promise<void> {
  for (const entry of await list(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await collect(path, label, files);
    else if (imageNames.test(entry.name)) files.push({ path, label });
  }
}

async function* decodeFiles(files: readonly ImageFile[], shape: ImageShape): AsyncGenerator<LabelledImage> {
  const decode = async ({ path, label }: ImageFile): Promise<LabelledImage> => {
    const bytes = await readFile(path).catch((error: unknown) => {
      throw asFileError(error, path, 'an image');
    });
    return { pixels: await decodeImage(bytes, shape, path), label };
  };
  for (let start = 0; start < files.length; start += filesAhead) {
    yield* await Promise.all(files.slice(start, start + filesAhead).map(decode));
  }
}
