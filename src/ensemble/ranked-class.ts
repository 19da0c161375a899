import { topK } from '../math/top-k.js';
import type { Probabilities } from './fusion/fusion-input.js';

/** A class with its probability. */
export interface RankedClass {
  readonly index: number;
  /** The class's name. */
  readonly class: string;
  readonly probability: number;
}

/**
 * The most probable classes, descending.
 *
 * @param names of all classes
 * @param classes what the probabilities are of, when they are not of all classes in order
 */
export function rankClasses(
  probabilities: Probabilities,
  top: number,
  names: readonly string[],
  classes?: readonly number[],
): RankedClass[] {
  const { indices, values } = topK(probabilities, Math.min(top, probabilities.length));
  return Array.from(indices, (place, rank) => {
    const index = classes ? classes[place] : place;
    return { index, class: names[index], probability: values[rank] };
  });
}
