import { apportion, zipfWeights } from './apportion.js';
import type { Difficulty } from './difficulty.js';

/** Classes that share all but their own small difference: [start, end). */
interface Genus {
  readonly family: number;
  /** Position in its family. */
  readonly position: number;
  readonly start: number;
  readonly end: number;
}

/**
 * The tree above the classes: families, which differ a lot; genera in the larger families; classes.
 *
 * Classes are numbered in the order of the tree, so a genus is a range of classes. A family with one genus is
 * two levels deep, the others three.
 */
export interface ClassTree {
  readonly classes: number;
  readonly families: number;
  readonly genera: readonly Genus[];
  readonly genusOf: Int32Array; // (classes)
  /** Number of genera of each family. */
  readonly generaIn: Int32Array; // (families)
}

/**
 * Divides classes into families and families into genera, sizes by Zipf's law: a few huge, many small.
 *
 * @param classes at least 2
 */
export function classTree(
  classes: number,
  { familiesPerRootClass, meanGenusSize, sizeOffset }: Difficulty,
): ClassTree {
  const families = Math.max(1, Math.floor(familiesPerRootClass * Math.sqrt(classes)));
  const familySizes = apportion(classes, zipfWeights(families, sizeOffset), { minimum: 1 });
  const generaIn = familySizes.map((size) => Math.max(1, Math.floor(size / meanGenusSize)));

  const genera: Genus[] = [];
  const genusOf = new Int32Array(classes);
  let start = 0;
  for (let family = 0; family < families; family++) {
    const sizes = apportion(familySizes[family], zipfWeights(generaIn[family], sizeOffset), { minimum: 1 });
    for (const [position, size] of sizes.entries()) {
      genusOf.fill(genera.length, start, start + size);
      genera.push({ family, position, start, end: start + size });
      start += size;
    }
  }
  return { classes, families, genera, genusOf, generaIn };
}

/**
 * Names that show the path: `f03/g11/c00417` is class 417 of genus 11 of family 3; `f85/c14973` has no genus
 * between. Numbers are padded, so that names sort as classes do.
 */
export function classNames({ classes, families, genera, genusOf, generaIn }: ClassTree): readonly string[] {
  const pad = (value: number, count: number) => String(value).padStart(String(count - 1).length, '0');
  const mostGenera = generaIn.reduce((most, count) => Math.max(most, count), 0);
  return Array.from(genusOf, (genus, label) => {
    const { family, position } = genera[genus];
    const middle = generaIn[family] > 1 ? `/g${pad(position, mostGenera)}` : '';
    return `f${pad(family, families)}${middle}/c${pad(label, classes)}`;
  });
}
