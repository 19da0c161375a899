import type { Probabilities } from './fusion/fusion-input.js';

/** Which specialists have a class in their subset: a compressed row for each class. */
export interface SubsetMembership {
  /** (classes + 1): the specialists of class c stand from `offsets[c]` to `offsets[c + 1]`. */
  readonly offsets: Int32Array;
  /** (sum of subset sizes), positions of specialists, ascending within a class. */
  readonly specialists: Int32Array;
}

/**
 * Indexes subsets by class.
 *
 * @param subsets each the distinct class indices of one specialist
 * @param classCount the number of classes
 *
 * Cost: `classes + sum of subset sizes`.
 */
export function indexMembership(
  subsets: readonly { readonly classes: ArrayLike<number> }[],
  classCount: number,
): SubsetMembership {
  const offsets = new Int32Array(classCount + 1);
  for (const { classes } of subsets) for (const c of Array.from(classes)) offsets[c + 1]++;
  for (let c = 0; c < classCount; c++) offsets[c + 1] += offsets[c];
  const next = offsets.slice(0, classCount);
  const specialists = new Int32Array(offsets[classCount]);
  subsets.forEach(({ classes }, m) => {
    for (const c of Array.from(classes)) specialists[next[c]++] = m;
  });
  return { offsets, specialists };
}

/**
 * The active specialists: those whose subsets meet the n most probable classes of the generalist.
 *
 * @param generalist (classes), or for sparse predictions (k), the probabilities of `classes`
 * @param membership of all specialists, from {@link indexMembership}
 * @param options `top`, the n of the paper, which uses 1; `classes` (k), the class of each probability, when
 *   they are not all classes in order. Ties go to the lower position.
 * @returns positions of specialists, ascending; maybe none
 *
 * Cost: `classes * n`. Source: Hinton, Vinyals and Dean (2015), section 5.4, steps 1 and 2.
 */
export function activeSpecialists(
  generalist: Probabilities,
  membership: SubsetMembership,
  { top = 1, classes }: { readonly top?: number; readonly classes?: ArrayLike<number> } = {},
): number[] {
  const active = new Set<number>();
  for (const position of mostProbable(generalist, top)) {
    const c = classes === undefined ? position : classes[position];
    for (let i = membership.offsets[c]; i < membership.offsets[c + 1]; i++)
      active.add(membership.specialists[i]);
  }
  return [...active].sort((a, b) => a - b);
}

/** The positions of the n greatest values, the greatest first, by insertion into a short list. */
function mostProbable(values: Probabilities, n: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === n && !(values[i] > values[best[n - 1]])) continue;
    let place = best.length;
    while (place > 0 && values[i] > values[best[place - 1]]) place--;
    best.splice(place, 0, i);
    if (best.length > n) best.pop();
  }
  return best;
}
