import { KdSpecError } from '../core/errors.js';
import type { SplitName } from './source.js';

/** The names by which people call the parts of a data set, in any case. */
const names: Readonly<Record<SplitName, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'val', 'valid', 'dev', 'eval'],
  test: ['test', 'testing'],
};

/** The part that a name means: `val`, `Valid` and `dev` are the validation part. */
export function splitOfName(name: string): SplitName | undefined {
  const lower = name.toLowerCase();
  return (Object.keys(names) as SplitName[]).find((split) => names[split].includes(lower));
}

/**
 * Finds the parts of a data set among names.
 *
 * @param place what has these names, for messages
 * @returns the name of each part that there is
 * @throws KdSpecError `dataset-invalid` when two names mean the same part
 */
export function findSplits(candidates: readonly string[], place: string): Partial<Record<SplitName, string>> {
  const found: Partial<Record<SplitName, string>> = {};
  for (const name of candidates) {
    const split = splitOfName(name);
    if (split === undefined) continue;
    const other = found[split];
    if (other !== undefined) {
      throw new KdSpecError(
        'dataset-invalid',
        `${place}: ${other} and ${name} both mean the ${split} part: rename or remove one`,
      );
    }
    found[split] = name;
  }
  return found;
}
