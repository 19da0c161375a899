import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { SplitName } from '../source.js';

/** What share of each class is set aside, each in [0, 1), together below 1. */
export interface SplitFractions {
  readonly validation: number;
  readonly test: number;
}

/**
 * Divides examples among the splits at random, class by class, so that each split has each class's share.
 *
 * Of n examples of a class, round(n * fraction) go to validation and to test, but at least one stays in train.
 *
 * @param labels (examples)
 * @param fractions of each class, for validation and test
 * @param seed names the division
 * @returns the split of each example
 * @throws KdSpecError `option-invalid` for fractions out of range
 */
export function splitBySeed(labels: ArrayLike<number>, fractions: SplitFractions, seed: number): SplitName[] {
  const { validation, test } = fractions;
  if (!(validation >= 0 && test >= 0 && validation + test < 1)) {
    throw new KdSpecError(
      'option-invalid',
      `expected fractions of at least 0 that sum to less than 1, found validation ${validation}, test ${test}`,
    );
  }
  const members = new Map<number, number[]>();
  for (let example = 0; example < labels.length; example++) {
    const of = members.get(labels[example]);
    if (of) of.push(example);
    else members.set(labels[example], [example]);
  }
  const splits = new Array<SplitName>(labels.length).fill('train');
  for (const [label, of] of members) {
    createRandom(seed, 'split', label).shuffle(of);
    const held = Math.min(Math.round(of.length * test), of.length - 1);
    const heldToo = Math.min(Math.round(of.length * validation), of.length - 1 - held);
    for (const example of of.slice(0, held)) splits[example] = 'test';
    for (const example of of.slice(held, held + heldToo)) splits[example] = 'validation';
  }
  return splits;
}
