import { basename } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { visibleName } from '../../core/visible-name.js';
import type { ImportReport } from '../import-report.js';
import type { DatasetSource, LabelledImage, SplitName } from '../source.js';

/**
 * The images of a source with the classes of a model, matched by name. Most of a model's classes may have no image;
 * images of a class that the model does not know are left out, and the report says so.
 *
 * @param classes the model's
 * @param model its path, for a person; descriptions, which model cards publish, have the name of the file alone
 * @throws KdSpecError `dataset-invalid` when no class of the source is one of the model's
 */
export function withKnownClasses(
  source: DatasetSource,
  classes: readonly string[],
  model: string,
): DatasetSource {
  const { labelOf } = matchClasses(source.classes, classes, model);
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
  model: string,
): { readonly labelOf: readonly (number | undefined)[]; readonly unknown: readonly string[] } {
  const labelOf = own.map(labelFinder(classes));
  const unknown = own.filter((_, label) => labelOf[label] === undefined);
  if (unknown.length === own.length) {
    throw new KdSpecError(
      'dataset-invalid',
      `none of the ${own.length} classes of the images (${firstOf(own, 1)}) is a class of ${model} ` +
        `(${firstOf(classes, 2)}): name the folders as the model names its classes, or give the ` +
        'names with --labels FILE',
    );
  }
  return { labelOf, unknown };
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
