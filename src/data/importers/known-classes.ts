import { basename } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { visibleName } from '../../core/visible-name.js';
import { countFromOne, isWholeNumber } from '../class-names.js';
import type { ImportFinding, ImportReport } from '../import-report.js';
import type { DatasetSource, LabelledImage, SplitName } from '../source.js';
import { importers } from './importers.js';

/**
 * The images of a source with the classes of a model, matched by name. Most of a model's classes may have no image;
 * images of a class that the model does not know are left out, and the report says so.
 *
 * @param classes the model's
 * @param options.model its path, for a person; descriptions, which model cards publish, have the name of the file alone
 * @param options.kind the name of the importer of the source
 * @throws KdSpecError `dataset-invalid` when no class of the source is one of the model's
 */
export function withKnownClasses(
  source: DatasetSource,
  classes: readonly string[],
  { model, kind }: { readonly model: string; readonly kind: string },
): DatasetSource {
  const { labelOf } = matchClasses(source.classes, classes, { model, kind });
  const leftOut = new Map<string, number>();
  return {
    ...source,
    description: `${source.description}, with the ${classes.length.toLocaleString('en')} classes of ${basename(model)}`,
    classes,
    count: (split) => source.count(split),
    async *images(split: SplitName): AsyncGenerator<LabelledImage> {
      for await (const { pixels, label } of source.images(split)) {
        const known = labelOf[label];
        if (known === undefined)
          leftOut.set(source.classes[label], (leftOut.get(source.classes[label]) ?? 0) + 1);
        else yield { pixels, label: known };
      }
    },
    report(): ImportReport {
      const { leftOut: others, notes } = source.report?.() ?? { leftOut: [], notes: [] };
      const count = [...leftOut.values()].reduce((sum, images) => sum + images, 0);
      const [example] = leftOut.keys();
      const what = `images of ${leftOut.size} classes that the model does not know`;
      return { leftOut: example === undefined ? others : [...others, { what, count, example }], notes };
    },
  };
}

/**
 * Matches classes by name to those of a model.
 *
 * @returns the model's label of each class, undefined where it knows none, and the names that it does not know
 * @throws KdSpecError `dataset-invalid` when it knows none of them
 */
export function matchClasses(
  own: readonly string[],
  classes: readonly string[],
  { model, kind }: { readonly model: string; readonly kind: string },
): { readonly labelOf: readonly (number | undefined)[]; readonly unknown: readonly string[] } {
  const labelOf = own.map(labelFinder(classes));
  const unknown = own.filter((_, label) => labelOf[label] === undefined);
  if (unknown.length === own.length) {
    throw new KdSpecError(
      'dataset-invalid',
      `none of the ${own.length} classes of the images (${firstOf(own, 1)}) is a class of ${model} ` +
        `(${firstOf(classes, 2)}): ${adviceOnNames(own, classes, kind)}`,
    );
  }
  return { labelOf, unknown };
}

/**
 * What to do about classes of images that a model does not know.
 *
 * @param unknown of the images, at least one
 * @param classes of the model
 * @param kind the name of the importer
 */
export function adviceOnNames(unknown: readonly string[], classes: readonly string[], kind: string): string {
  const last = classes.length - 1;
  if (unknown.every(isWholeNumber) && areIndices(classes))
    return (
      `the model has no names for its classes, which are called 0 to ${last}: call those of the images so, or give the ` +
      'names of its outputs, as the images call them, with --labels FILE, one a line'
    );
  if (!unknown.every(isWholeNumber)) {
    const what = kind === 'image-folder' ? 'name the folders' : 'write the labels';
    return `${what} as the model names its classes, or give the names with --labels FILE`;
  }
  if (importers.some(({ name, options }) => name === kind && options.includes('classNames'))) {
    return (
      'the labels are numbers: give their names with --class-names FILE, one a line, the first for 0 (where they number ' +
      "the model's outputs, its names in their order)"
    );
  }
  const rename =
    kind === 'image-folder'
      ? 'name the folders as the model names its classes'
      : 'make the labels a ClassLabel';
  return (
    `${rename}, or, where the numbers are those of the model's outputs, name these so, too: --labels FILE with ` +
    `0 to ${last}, one a line`
  );
}

/** Whether a model has no names for its classes. */
const areIndices = (classes: readonly string[]) => classes.every((name, index) => name === String(index));

/** What the classes of some images are called where the model has no names for its own. */
export interface IndexNames {
  readonly nameOf: (name: string) => string;
  /** That they count from 1, where they do. */
  readonly finding: ImportFinding | undefined;
}

/**
 * Calls classes that are numbers as a model without class names calls its own, 0 to N - 1: `07` is 7, and numbers that
 * count from 1 are one less. Other classes, and all where the model has names, stay as they are.
 *
 * @param own of all images that are numbered alike, bystanders among them
 * @param classes the model's
 */
export function indexNames(own: readonly string[], classes: readonly string[]): IndexNames {
  if (!areIndices(classes)) return { nameOf: (name) => name, finding: undefined };
  const numbers = own.filter(isWholeNumber);
  const first = countFromOne(numbers, classes.length) ? 1 : 0;
  const what =
    `classes by numbers that count from 1, as ${classes.length} occurs and 0 does not: 1 is the first class of the ` +
    'model, which is called 0';
  return {
    nameOf: (name) => (isWholeNumber(name) ? String(Number(name) - first) : name),
    finding: first === 1 ? { what, count: numbers.length, example: numbers[0], isWarning: true } : undefined,
  };
}

/** A source whose classes have other names; its report says why. */
export function withNames(source: DatasetSource, { nameOf, finding }: IndexNames): DatasetSource {
  return {
    ...source,
    classes: source.classes.map(nameOf),
    count: (split) => source.count(split),
    images: (split) => source.images(split),
    report(): ImportReport {
      const { leftOut, notes } = source.report?.() ?? { leftOut: [], notes: [] };
      return { leftOut, notes: finding ? [...notes, finding] : notes };
    },
  };
}

/**
 * Finds the label that a model gives a name: the name itself, another Unicode form of it, the code points that a model's
 * names are written as where they cannot be seen, or the name without white space around it.
 */
export function labelFinder(classes: readonly string[]): (name: string) => number | undefined {
  const exact = new Map(classes.map((name, label) => [name, label]));
  const composed = new Map(classes.map((name, label) => [name.normalize('NFC'), label]));
  return (name) =>
    exact.get(name) ??
    composed.get(name.normalize('NFC')) ??
    exact.get(visibleName(name)) ??
    composed.get(name.normalize('NFC').trim());
}

/** The first names of a list, for a person: `"ash", "oak", ...`. */
function firstOf(names: readonly string[], most: number): string {
  const shown = names.slice(0, most).map((name) => `"${name}"`);
  return [...shown, ...(names.length > most ? ['...'] : [])].join(', ');
}
