import { assert } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import { randomSubset } from '../../core/random.js';

/** The classes that take part in one step of a sampled softmax. */
export interface Candidates {
  /** (count), distinct: the classes of the batch, then others at random. */
  readonly classes: Int32Array;
  /** (batch), where in `classes` each example's label stands. */
  readonly positions: Int32Array;
  /** How many candidates are there because an example has their label. */
  readonly certain: number;
  /** The probability with which each other class became a candidate, in (0, 1]. */
  readonly inclusion: number;
}

/**
 * Draws the candidates of a step: every class of the batch, and a uniform sample without replacement of the rest.
 *
 * @param labels (batch), each in [0, classes)
 * @param options.classes C, of the whole softmax
 * @param options.count n, of the candidates; more than the batch has distinct labels, at most C
 * Cost: O(n log batch), whatever C.
 */
export function drawCandidates(
  labels: Int32Array,
  { classes, count, random }: { readonly classes: number; readonly count: number; readonly random: Random },
): Candidates {
  const own = Int32Array.from(new Set(labels)).sort();
  const certain = own.length;
  const isPossible = count <= classes && (count > certain || count === classes);
  assert(isPossible, `${count} candidates of ${classes} classes, for a batch with ${certain}`);
  const candidates = new Int32Array(count);
  candidates.set(own);
  const others = randomSubset(count - certain, classes - certain, random.below);
  others.forEach((place, index) => {
    candidates[certain + index] = otherClass(place, own);
  });
  const positionOf = new Map(Array.from(own, (label, position) => [label, position]));
  return {
    classes: candidates,
    positions: labels.map((label) => positionOf.get(label) ?? -1),
    certain,
    inclusion: count === certain ? 1 : (count - certain) / (classes - certain),
  };
}

/** The class at a place of the ascending list of all classes that are not among `own`, itself ascending. */
function otherClass(place: number, own: Int32Array): number {
  // own[k] - k others come before own[k]: find how many of own come before the place.
  let low = 0;
  let high = own.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (own[middle] - middle <= place) low = middle + 1;
    else high = middle;
  }
  return place + low;
}
