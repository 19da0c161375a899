/**
 * How many classes come before the label: 0 when it is the most probable. Ties go to the lower class; a label whose
 * own value is not a number comes last.
 *
 * @param probabilities (classes)
 * @param label a class
 */
export function rankOf(probabilities: ArrayLike<number>, label: number): number {
  const own = probabilities[label];
  if (Number.isNaN(own)) return probabilities.length;
  let rank = 0;
  for (let c = 0; c < probabilities.length; c++) {
    if (probabilities[c] > own || (probabilities[c] === own && c < label)) rank++;
  }
  return rank;
}

/**
 * The most probable class, the lower one of a tie.
 *
 * @param probabilities (classes), one or more; logits as well
 */
export function firstClass(probabilities: ArrayLike<number>): number {
  let best = 0;
  for (let c = 1; c < probabilities.length; c++) if (probabilities[c] > probabilities[best]) best = c;
  return best;
}

/**
 * Whether the label is the most probable among some classes only. Ties go to the lower class.
 *
 * @param classes (s), class indices, the label among them
 * @param probabilityAt the probability of the i-th of them
 */
export function isFirstWithin(
  classes: ArrayLike<number>,
  probabilityAt: (i: number) => number,
  label: number,
): boolean {
  let best = -1;
  let bestProbability = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < classes.length; i++) {
    const p = probabilityAt(i);
    if (p > bestProbability || (p === bestProbability && classes[i] < best)) {
      best = classes[i];
      bestProbability = p;
    }
  }
  return best === label;
}
