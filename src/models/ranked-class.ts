import { topK } from '../math/top-k.js';

/** A class with its probability. */
export interface RankedClass {
  readonly index: number;
  /** The class's name. */
  readonly class: string;
  readonly probability: number;
}

/**
 * The most probable classes, descending; of equal ones the lower first.
 *
 * @param probabilities (n)
 * @param names of all classes
 * @param classes (n or more), what the probabilities are of, when they are not of all classes in order
 */
export function rankClasses(
  probabilities: ArrayLike<number>,
  top: number,
  names: readonly string[],
  classes?: ArrayLike<number>,
): RankedClass[] {
  return Array.from(topK(probabilities, top).indices, (place) => {
    const index = classes ? classes[place] : place;
    return { index, class: names[index], probability: probabilities[place] };
  });
}
