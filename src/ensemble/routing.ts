import type { Probabilities } from './rules/distributions.js';
import { type SubsetMembership, specialistsOf } from './subsets/membership.js';

const negligible = 1e-6; // of a class's probability, when masses are compared with a threshold

/** Which specialists are asked: the `top` rule of the paper, or those whose subsets hold enough `mass`. */
export interface RoutingRule {
  /** n of the top-n rule; the paper uses 1. */
  readonly top?: number;
  /** Least mass of the generalist on a subset, in (0, 1]; when given, instead of the top-n rule. */
  readonly mass?: number | null | undefined;
}

/**
 * The active specialists: those whose subsets meet the n most probable classes of the generalist, or those on
 * whose subsets it puts at least a given mass.
 *
 * @param generalist (classes), or for sparse predictions (k), the probabilities of `classes`. For the top-n rule
 *   anything that sorts as they do, such as logits.
 * @param membership of all specialists, from {@link indexMembership}
 * @param options the {@link RoutingRule} (default n = 1); `classes` (k), the class of each probability, when
 *   they are not all classes in order. Ties go to the lower position.
 * @returns positions of specialists, ascending; maybe none
 *
 * Cost: `classes * n`; for a mass the classes and their memberships.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, steps 1 and 2; the mass is ours.
 */
export function activeSpecialists(
  generalist: Probabilities,
  membership: SubsetMembership,
  { top = 1, mass, classes }: RoutingRule & { readonly classes?: ArrayLike<number> } = {},
): number[] {
  if (typeof mass === 'number') {
    const masses = subsetMasses(generalist, membership, classes);
    return [...masses]
      .filter(([, sum]) => sum >= mass)
      .map(([m]) => m)
      .sort((a, b) => a - b);
  }
  const active = new Set<number>();
  for (const position of mostProbable(generalist, top)) {
    const label = classes === undefined ? position : classes[position];
    for (const specialist of specialistsOf(label, membership)) active.add(specialist);
  }
  return [...active].sort((a, b) => a - b);
}

/** The mass of each subset that has any, by position of its specialist. */
function subsetMasses(
  probabilities: Probabilities,
  { offsets, specialists }: SubsetMembership,
  classes?: ArrayLike<number>,
): Map<number, number> {
  const masses = new Map<number, number>();
  for (let position = 0; position < probabilities.length; position++) {
    if (probabilities[position] < negligible) continue;
    const c = classes === undefined ? position : classes[position];
    for (let i = offsets[c]; i < offsets[c + 1]; i++) {
      masses.set(specialists[i], (masses.get(specialists[i]) ?? 0) + probabilities[position]);
    }
  }
  return masses;
}

/** The positions of the n greatest values, the greatest first, by insertion into a short list. */
function mostProbable(values: Probabilities, n: number): number[] {
  const best: number[] = [];
  const insert = (position: number) => {
    let place = best.length;
    while (place > 0 && values[position] > values[best[place - 1]]) place--;
    best.splice(place, 0, position);
  };
  const first = Math.min(n, values.length);
  for (let i = 0; i < first; i++) insert(i);
  let least = values[best[best.length - 1]];
  for (let i = first; i < values.length; i++) {
    if (!(values[i] > least)) continue; // nearly always: a comparison a class is all that it costs
    insert(i);
    best.pop();
    least = values[best[best.length - 1]];
  }
  return best;
}
