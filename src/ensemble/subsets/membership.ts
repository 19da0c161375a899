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

/** The specialists of one class, by position, ascending. */
export function specialistsOf(label: number, { offsets, specialists }: SubsetMembership): Int32Array {
  return specialists.subarray(offsets[label], offsets[label + 1]);
}
