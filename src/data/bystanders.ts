import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { createRandom } from '../core/random.js';
import { type Dataset, openDataset, type Split } from './dataset.js';
import { manifestName } from './dataset-files.js';
import { folderEntries, isImageFile, listImages } from './image-files.js';
import { ImportFindings } from './import-report.js';
import { decodeImages } from './importers/decode-images.js';
import { importChoices, importOptions, type SourceOptions } from './importers/importer.js';
import { openSource } from './importers/importers.js';
import { labelFinder } from './importers/known-classes.js';
import { splitBySeed } from './importers/split-by-seed.js';
import { countLabels } from './label-counts.js';
import type { DatasetSource, LabelledImage, SplitName } from './source.js';

/**
 * Images of what no specialist learns: they tell what specialists do to the rest of a classifier. They lie in the folder
 * of the data set as a data set of their own, whose labels are the classes of the model, and one more for images
 * without a label.
 */
export interface Bystanders {
  readonly description: string;
  /** What teaches dustbins; all of it has labels. */
  readonly teach: Split;
  /** What bounds the harm: no specialist saw these images, nor any others of their classes. */
  readonly bound: Split;
  /** For the test, read once. */
  readonly test: Split;
  /** The label of an image without one: the number of classes. */
  readonly unlabelled: number;
  readonly dataset: Dataset;
}

const folderName = 'bystanders';

/** The folder of the bystanders of a data set. */
export function bystanderFolder(dataset: string): string {
  return join(dataset, folderName);
}

/**
 * Opens the bystanders of a data set.
 *
 * @param dataset the folder of the data set
 * @returns undefined where it has none
 * @throws KdSpecError `dataset-invalid` where an earlier version of kd-spec made it; as `openDataset`
 */
export async function openBystanders(dataset: string): Promise<Bystanders | undefined> {
  const folder = bystanderFolder(dataset);
  if (!existsSync(join(folder, manifestName))) return undefined;
  const opened = await openDataset(folder);
  const { description, classes, splits } = opened;
  if (splits.validation.rows === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `${folder}: expected bystanders that bound the harm beside those that teach, found none, as earlier versions of ` +
        'kd-spec left them: import the images again (kd-spec dataset --no-resume)',
    );
  }
  return {
    description,
    teach: splits.train,
    bound: splits.validation,
    test: splits.test,
    unlabelled: classes.length - 1,
    dataset: opened,
  };
}

/**
 * Bystanders that teach, of each class.
 *
 * @returns (classes of the model)
 */
export async function teachingBystanders({ teach, unlabelled }: Bystanders): Promise<Int32Array> {
  return (await countLabels(teach, unlabelled + 1)).slice(0, unlabelled);
}

/** Half of the bystanders is for the test, where their source has no parts of its own. */
const testShare = 0.5;

/**
 * Opens images that are to be bystanders: whatever an importer recognises, or a folder of images without classes.
 *
 * @param options as for the data set; the images are brought to the same shape
 * @throws KdSpecError `not-found`, `dataset-invalid`; what an importer throws
 */
export async function openBystanderSource(path: string, options: SourceOptions): Promise<DatasetSource> {
  try {
    if (await isFolderOfImages(path)) return await unlabelledImages(path, options);
    return (await openSource(path, { ...options, validationFraction: 0, testFraction: testShare })).source;
  } catch (error) {
    if (error instanceof KdSpecError)
      throw new KdSpecError(error.code, `--bystanders: ${error.message}`, { cause: error });
    throw error;
  }
}

async function isFolderOfImages(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  const entries = await folderEntries(path, new ImportFindings()).catch(() => []);
  if (entries.some(({ isFolder }) => isFolder)) return false;
  for (const entry of entries) if (await isImageFile(entry.path)) return true;
  return false;
}

async function unlabelledImages(folder: string, options: SourceOptions): Promise<DatasetSource> {
  const { image, seed, onError } = importChoices(importOptions(options));
  const files = (await listImages(folder)).map((path) => ({ image: path, label: 0 }));
  const findings = new ImportFindings();
  const parts = splitBySeed(
    files.map(({ label }) => label),
    { validation: 0, test: testShare },
    seed,
  );
  const of = (split: SplitName) => files.filter((_, index) => parts[index] === split);
  return {
    description: `Images of the folder ${basename(folder)}, without labels`,
    classes: [unlabelledName([])],
    image,
    augmentation: { kind: 'none' },
    count: (split) => of(split).length,
    images: (split) => decodeImages(createRandom(seed, 'order', split).shuffle(of(split)), image, findings),
    report: () => findings.report(onError),
  };
}

/**
 * Any images as bystanders: those of classes that the model knows and that have no training images with their label,
 * those of classes that it does not know without one. Images of classes that have training images are left out.
 *
 * @param source from {@link openBystanderSource}: a part for validation is its own
 * @param classes the model's
 * @param options.hasImages whether a class of the model has training images
 * @param options.seed decides which classes teach dustbins and which bound the harm
 * @throws KdSpecError `dataset-invalid` when every class has
 */
export function asBystanders(
  source: DatasetSource,
  classes: readonly string[],
  { hasImages, seed }: { readonly hasImages: (label: number) => boolean; readonly seed: number },
): DatasetSource {
  const labelIn = labelFinder(classes);
  const unlabelled = classes.length;
  const labelOf = source.classes.map((name) => labelIn(name) ?? unlabelled);
  if (labelOf.every((label) => label < unlabelled && hasImages(label))) {
    throw new KdSpecError(
      'dataset-invalid',
      `--bystanders: every class of ${source.description} has training images, and bystanders are images of other ` +
        'classes: give others, or leave it out',
    );
  }
  return bystandersOf(source, {
    description: source.description,
    classes,
    seed,
    isTold: true,
    hasParts: source.count('train') > 0 && source.count('validation') > 0,
    labelOf: (label) => {
      const known = labelOf[label];
      return known < unlabelled && hasImages(known) ? undefined : known;
    },
  });
}

/** With fewer classes than this none is held out: one or two would tell little, and be missed. */
const fewClasses = 20;

/** How many of the classes with images play the bystanders where nobody gave any. */
export function heldOutCount(classesWithImages: number, share: number): number {
  return classesWithImages < fewClasses ? 0 : Math.round(share * classesWithImages);
}

/**
 * Takes some classes, at random by seed, out of a source, to play the bystanders.
 *
 * @param source with the classes of the model
 * @param withImages the classes that have images, ascending
 * @param options.count how many are held out
 * @returns what is left, what was taken, and the held-out classes, ascending
 */
export function holdOutClasses(
  source: DatasetSource,
  withImages: readonly number[],
  { count, seed }: { readonly count: number; readonly seed: number },
): { readonly rest: DatasetSource; readonly bystanders: DatasetSource; readonly heldOut: readonly number[] } {
  const order = [...withImages];
  createRandom(seed, 'bystanders').shuffle(order);
  const heldOut = order.slice(0, count).sort((a, b) => a - b);
  const isHeldOut = new Set(heldOut);
  return {
    rest: {
      ...source,
      count: (split) => source.count(split),
      images: (split) =>
        relabelled(source.images(split), (label) => (isHeldOut.has(label) ? undefined : label)),
      // Which images are held out shows as they are read: less than was announced is no mistake.
      report: () => source.report?.() ?? { leftOut: [], notes: [] },
    },
    bystanders: bystandersOf(
      { ...source, report: () => ({ leftOut: [], notes: [] }) },
      {
        description: `${count} of the ${withImages.length} classes with images, held out to play the bystanders`,
        classes: source.classes,
        labelOf: (label) => (isHeldOut.has(label) ? label : undefined),
        isTold: false,
        hasParts: false,
        seed,
      },
    ),
    heldOut,
  };
}

/**
 * Divides the images of a source among teaching (`train`), bounding (`validation`) and the test.
 *
 * A dustbin keeps out best what it has learned from, so that a harm measured on that is too small. Each class with a
 * label therefore teaches or bounds, half of them each, at random by seed; images without a label bound. Where the
 * source has a part for validation of its own, as when designs or cameras must not mix, what teaches comes from its part
 * for training and what bounds from that for validation.
 */
function bystandersOf(
  source: DatasetSource,
  {
    description,
    classes,
    labelOf,
    isTold,
    hasParts,
    seed,
  }: {
    readonly description: string;
    readonly classes: readonly string[];
    /** The label as a bystander; undefined leaves the image out. */
    readonly labelOf: (label: number) => number | undefined;
    /** Whether the report counts what is left out. */
    readonly isTold: boolean;
    /** Whether the parts of the source are its own, and not made at random. */
    readonly hasParts: boolean;
    readonly seed: number;
  },
): DatasetSource {
  let leftOut = 0;
  let unused = 0;
  const unlabelled = classes.length;
  const labels = [...source.classes.keys()].map(labelOf).filter((label) => label !== undefined);
  const teaches = teachingClasses(new Set(labels.filter((label) => label < unlabelled)), seed);
  const from = (split: SplitName): readonly SplitName[] => {
    if (split === 'test') return ['test'];
    return hasParts ? [split] : ['train', 'validation'];
  };
  const isIn = (split: SplitName, label: number) =>
    split === 'test' || teaches.has(label) === (split === 'train');
  return {
    ...source,
    description,
    classes: [...classes, unlabelledName(classes)],
    count: (split) => from(split).reduce((sum, part) => sum + source.count(part), 0),
    async *images(split) {
      const isSecondPass = split === 'validation' && !hasParts;
      for (const part of from(split))
        for await (const image of source.images(part)) {
          const label = labelOf(image.label);
          if (label === undefined) leftOut += isSecondPass ? 0 : 1;
          else if (isIn(split, label)) yield { ...image, label };
          else if (hasParts) unused++;
        }
    },
    report() {
      const { leftOut: others, notes } = source.report?.() ?? { leftOut: [], notes: [] };
      const what = 'images of classes that have training images';
      const own = [
        { what, count: isTold ? leftOut : 0, example: description },
        {
          what: 'bystanders for training whose class bounds, or for validation whose class teaches',
          count: unused,
          example: description,
        },
      ];
      return { leftOut: [...others, ...own.filter(({ count }) => count > 0)], notes };
    },
  };
}

/** The smaller half. */
function teachingClasses(labels: ReadonlySet<number>, seed: number): ReadonlySet<number> {
  const order = createRandom(seed, 'teaching').shuffle([...labels].sort((a, b) => a - b));
  return new Set(order.slice(0, Math.floor(order.length / 2)));
}

/** A name that no class has. */
function unlabelledName(classes: readonly string[]): string {
  let name = '(no label)';
  while (classes.includes(name)) name = `(${name})`;
  return name;
}

async function* relabelled(
  images: AsyncIterable<LabelledImage>,
  labelOf: (label: number) => number | undefined,
): AsyncGenerator<LabelledImage> {
  for await (const image of images) {
    const label = labelOf(image.label);
    if (label !== undefined) yield { ...image, label };
  }
}
