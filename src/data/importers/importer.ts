import type { Log } from '../../core/log.js';
import { readAllClassNames } from '../class-names.js';
import { type DatasetSource, type ImageShape, type ImageSize, sidesOf } from '../source.js';
import type { KnownNames } from './divided-rows.js';

/** The dataset options as a command resolves them; null leaves a choice to the kind of data set. */
export interface SourceOptions {
  readonly seed: number;
  readonly log: Log;
  readonly classes: number | null;
  readonly imageSize: ImageSize | null;
  readonly channels: 1 | 3 | null;
  readonly imageColumn: string | null;
  readonly labelColumn: string | null;
  readonly group: string | null;
  readonly classNames: string | null;
  /** What numbers call the first of the class names, where other images of the same labels decided it. */
  readonly numbersFrom?: 0 | 1 | undefined;
  readonly onError: 'stop' | 'skip';
  readonly validationFraction: number;
  readonly testFraction: number;
  readonly imagesPerClass: number | null;
  readonly labelNoise: number | null;
  readonly fonts: readonly (string | readonly string[])[] | null;
  readonly minimumDesigns: number | null;
  readonly codePoints: readonly [number, number] | null;
  readonly validationDesigns: number | null;
  readonly testDesigns: number | null;
  readonly copies: number | null;
  readonly strength: number | null;
  readonly sentences: number | null;
}

/** One kind of source: how it is recognised and opened. */
export interface Importer {
  /** Whether a source, the path of a file or of a folder, is of this kind. */
  recognises(source: string): Promise<boolean>;
  /**
   * Opens it; images are read later, when the source is iterated.
   *
   * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`
   */
  open(source: string, options: SourceOptions): Promise<DatasetSource>;
}

/** Options of every importer of images. */
export interface ImportOptions {
  /** To which images are brought, in pixels: one number for squares, or height and width, as in `48x320`. */
  readonly imageSize: ImageSize;
  readonly channels?: 1 | 3;
  /** Share of the training images set aside for validation, in [0, 1), where the source has no such part. */
  readonly validationFraction?: number;
  /** Share of the training images set aside for the test, in [0, 1), where the source has no such part. */
  readonly testFraction?: number;
  /**
   * What an image that cannot be read does: `skip` leaves it out; `stop` fails the import, after a pass over all images
   * that finds every such image.
   */
  readonly onError?: 'stop' | 'skip';
  /** Names the division into parts, and the order. */
  readonly seed: number;
  /** What keeps images together on one side of every split; see `group-key.ts`. */
  readonly group?: string;
}

/** How images with labels in a table, or in files of their own, are imported. */
export interface TableOptions extends ImportOptions {
  /** The column of images, or of their paths. */
  readonly imageColumn?: string;
  readonly labelColumn?: string;
  /** A file with the names of the classes, a line each. */
  readonly classNames?: string;
  /** What numbers call the first of them; without it, the labels tell. */
  readonly numbersFrom?: 0 | 1 | undefined;
}

/** The options of tables beside those of every import, from those of a command. */
export function tableOptions({
  imageColumn,
  labelColumn,
  classNames,
  numbersFrom,
}: SourceOptions): Pick<TableOptions, 'imageColumn' | 'labelColumn' | 'classNames' | 'numbersFrom'> {
  return { ...withoutNull({ imageColumn, labelColumn, classNames }), numbersFrom };
}

const defaultImageSize = 32; // of imported images, in pixels

/** The options of an import of images, from those of a command. */
export function importOptions(options: SourceOptions): ImportOptions {
  const { imageSize, channels, validationFraction, testFraction, onError, seed, group } = options;
  return {
    imageSize: imageSize ?? defaultImageSize,
    ...(channels !== null && { channels }),
    validationFraction,
    testFraction,
    onError,
    seed,
    ...(group !== null && { group }),
  };
}

/** The choices of an import of images, with the default of each that was left open. */
export function importChoices({
  imageSize,
  channels = 3,
  validationFraction = 0.1,
  testFraction = 0.1,
  onError = 'stop',
  seed,
}: ImportOptions) {
  const image: ImageShape = { ...sidesOf(imageSize), channels };
  return { image, validationFraction, testFraction, onError, seed };
}

/** The classes that `classNames` names. */
export async function namesOf({
  classNames,
  numbersFrom,
}: Pick<TableOptions, 'classNames' | 'numbersFrom'>): Promise<KnownNames | undefined> {
  return classNames === undefined ? undefined : { list: await readAllClassNames(classNames), numbersFrom };
}

/** Options that were not set are left to the default of the function that takes them. */
export function withoutNull<Values extends object>(
  values: Values,
): { [Key in keyof Values]?: NonNullable<Values[Key]> } {
  const set = Object.entries(values).filter(([, value]) => value !== null);
  return Object.fromEntries(set) as { [Key in keyof Values]?: NonNullable<Values[Key]> };
}
