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
  /** For fitting: what bounds the harm. */
  readonly fit: Split;
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
 * @throws KdSpecError as `openDataset`
 */
export async function openBystanders(dataset: string): Promise<Bystanders | undefined> {
  const folder = bystanderFolder(dataset);
  if (!existsSync(join(folder, manifestName))) return undefined;
  const opened = await openDataset(folder);
  const { description, classes, splits } = opened;
  return {
    description,
    fit: splits.train,
    test: splits.test,
    unlabelled: classes.length - 1,
    dataset: opened,
  };
}

/**
 * Bystanders for fitting, of each class: those that can teach a dustbin. Images without a label cannot, as they may show
 * any class.
 *
 * @returns (classes of the model)
 */
export async function labelledBystanders({ fit, unlabelled }: Bystanders): Promise<Int32Array> {
  return (await countLabels(fit, unlabelled + 1)).slice(0, unlabelled);
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
  if (await isFolderOfImages(path)) return unlabelledImages(path, options);
  return (await openSource(path, { ...options, validationFraction: 0.1, testFraction: testShare })).source;
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
 * @param source what it has for training and validation becomes the part for fitting
 * @param classes the model's
 * @param hasImages whether a class of the model has training images
 * @throws KdSpecError `dataset-invalid` when every class has
 */
export function asBystanders(
  source: DatasetSource,
  classes: readonly string[],
  hasImages: (label: number) => boolean,
): DatasetSource {
  const labels = new Map(classes.map((name, label) => [name.normalize('NFC'), label]));
  const unlabelled = classes.length;
  const labelOf = source.classes.map((name) => labels.get(name.normalize('NFC')) ?? unlabelled);
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
    isTold: true,
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
      },
    ),
    heldOut,
  };
}

/** @param options.labelOf the label as a bystander; undefined leaves the image out */
function bystandersOf(
  source: DatasetSource,
  {
    description,
    classes,
    labelOf,
    isTold,
  }: {
    readonly description: string;
    readonly classes: readonly string[];
    readonly labelOf: (label: number) => number | undefined;
    /** Whether the report counts what is left out. */
    readonly isTold: boolean;
  },
): DatasetSource {
  let leftOut = 0;
  const taken: Readonly<Record<SplitName, readonly SplitName[]>> = {
    train: ['train', 'validation'],
    validation: [],
    test: ['test'],
  };
  return {
    ...source,
    description,
    classes: [...classes, unlabelledName(classes)],
    count: (split) => taken[split].reduce((sum, part) => sum + source.count(part), 0),
    async *images(split) {
      for (const part of taken[split])
        for await (const image of source.images(part)) {
          const label = labelOf(image.label);
          if (label === undefined) leftOut++;
          else yield { ...image, label };
        }
    },
    report() {
      const { leftOut: others, notes } = source.report?.() ?? { leftOut: [], notes: [] };
      const what = 'images of classes that have training images';
      const own = { what, count: leftOut, example: description };
      return { leftOut: leftOut > 0 && isTold ? [...others, own] : others, notes };
    },
  };
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
