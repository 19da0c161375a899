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
 * Of n examples of a class, round(n * fraction) go to validation and to test, but at least one stays in train. Groups
 * stay whole: in a random order, each goes to test, else to validation, if that brings the number of examples of its
 * classes there nearer to their shares, and leaves each of them one example in train.
 *
 * @param labels (examples)
 * @param fractions of each class, for validation and test
 * @param seed names the division
 * @param groups (examples), whole numbers; examples of one group go to one split. Negative: a group of its own
 * @returns the split of each example
 * @throws KdSpecError `option-invalid` for fractions out of range
 */
export function splitBySeed(
  labels: ArrayLike<number>,
  fractions: SplitFractions,
  seed: number,
  groups?: ArrayLike<number>,
): SplitName[] {
  const { validation, test } = fractions;
  if (!(validation >= 0 && test >= 0 && validation + test < 1)) {
    throw new KdSpecError(
      'option-invalid',
      `expected fractions of at least 0 that sum to less than 1, found validation ${validation}, test ${test}`,
    );
  }
  if (groups !== undefined) return splitGroups(labels, fractions, seed, groups);
  const members = gather(labels);
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

/** The examples of each value. */
function gather(values: ArrayLike<number>): Map<number, number[]> {
  const members = new Map<number, number[]>();
  for (let example = 0; example < values.length; example++) {
    const of = members.get(values[example]);
    if (of) of.push(example);
    else members.set(values[example], [example]);
  }
  return members;
}

function splitGroups(
  labels: ArrayLike<number>,
  fractions: SplitFractions,
  seed: number,
  groups: ArrayLike<number>,
): SplitName[] {
  const alone = -1 - labels.length;
  const own = Array.from(groups, (group, example) => (group < 0 ? alone - example : group));
  const members = [...gather(own).values()];
  createRandom(seed, 'split groups').shuffle(members);
  const total = count(labels); // examples of each class
  const left = new Map(total); // of them, in train
  const splits = new Array<SplitName>(labels.length).fill('train');
  for (const split of ['test', 'validation'] as const) {
    const fraction = fractions[split];
    if (fraction === 0) continue;
    const held = new Map<number, number>();
    const cost = (of: ReadonlyMap<number, number>) => {
      let change = 0;
      for (const [label, more] of of) {
        if ((left.get(label) ?? 0) - more < 1) return Number.POSITIVE_INFINITY;
        const wanted = (total.get(label) ?? 0) * fraction;
        const now = held.get(label) ?? 0;
        change += Math.abs(now + more - wanted) - Math.abs(now - wanted);
      }
      return change;
    };
    const take = (examples: readonly number[], of: ReadonlyMap<number, number>) => {
      for (const example of examples) splits[example] = split;
      for (const [label, more] of of) {
        held.set(label, (held.get(label) ?? 0) + more);
        left.set(label, (left.get(label) ?? 0) - more);
      }
    };
    let nearest: { readonly examples: readonly number[]; readonly change: number } | undefined;
    for (const examples of members) {
      if (splits[examples[0]] !== 'train') continue;
      const of = count(examples.map((example) => labels[example]));
      const change = cost(of);
      if (change < 0) take(examples, of);
      else if (change < (nearest?.change ?? Number.POSITIVE_INFINITY)) nearest = { examples, change };
    }
    // Where every group is larger than the share, the smallest excess is better than nothing.
    if (held.size === 0 && nearest)
      take(nearest.examples, count(nearest.examples.map((example) => labels[example])));
  }
  return splits;
}

function count(labels: ArrayLike<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (let example = 0; example < labels.length; example++)
    counts.set(labels[example], (counts.get(labels[example]) ?? 0) + 1);
  return counts;
}
