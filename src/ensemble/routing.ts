import { type SubsetMembership, specialistsOf } from './subsets/membership.js';

const negligible = 1e-6; // of a class's probability, when masses are compared with a threshold

/** Which specialists are queried: the `top` rule of the paper, or those whose subsets hold enough `mass`. */
export interface RoutingRule {
  /** n of the top-n rule; the paper uses 1. */
  readonly top?: number | undefined;
  /** Least mass of the generalist on a subset, in (0, 1]; when given, instead of the top-n rule. */
  readonly mass?: number | null | undefined;
  /**
   * The most specialists for an image; of more, those with the most mass of the generalist on their subset take part,
   * the lower position first among equals. None: as many as the rule names.
   */
  readonly most?: number | undefined;
}

/**
 * The most specialists that an ensemble is calibrated for on one image. Fusing M specialists takes M^3 operations
 * under the paper's rule, and fitting each beside the others M times that.
 */
export const mostActive = 32;

/** Chooses the active specialists of image after image. */
export interface Router {
  /** What it looks at: the most probable class, which classes come first, or masses at temperature 1. */
  readonly reads: 'first' | 'order' | 'masses';
  /**
   * @param generalist (classes), its distribution, at any temperature unless masses are read
   * @param first the most probable class
   * @param order the most probable classes, the first one first, n or more: where they are known, they are not sought
   * @returns positions of specialists, ascending; maybe none
   */
  route(generalist: Float32Array | Float64Array, first: number, order?: readonly number[]): readonly number[];
}

/**
 * The active specialists: those whose subsets meet the n most probable classes of the generalist, or those on whose
 * subsets it puts at least a given mass.
 *
 * @param membership of all specialists that may be queried, from `indexMembership`
 * @param rule default n = 1
 *
 * Cost: for n = 1 that of the result; for more `classes * n`; for a mass a comparison a class, unless the first class
 * holds so much that it decides.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, steps 1 and 2; the mass is ours.
 */
export function createRouter(
  membership: SubsetMembership,
  { top = 1, mass, most = Number.POSITIVE_INFINITY }: RoutingRule = {},
): Router {
  const specialists = membership.specialists.reduce((last, m) => Math.max(last, m), -1) + 1;
  const largestFamily = largestDifference(membership.offsets);
  const masses = new Float64Array(specialists);
  const isByMass = typeof mass === 'number';
  const mayOverflow = specialists > most && (isByMass || top * largestFamily > most);

  const ofFirst = (first: number) => specialistsOf(first, membership);
  const byTop = (generalist: Float32Array | Float64Array, first: number, order?: readonly number[]) => {
    if (top === 1) return [...ofFirst(first)];
    const active = new Set<number>();
    for (const label of order?.slice(0, top) ?? mostProbable(generalist, top))
      for (const m of ofFirst(label)) active.add(m);
    return [...active].sort(ascending);
  };
  const byMass = (generalist: Float32Array | Float64Array, first: number, least: number) => {
    const greatest = generalist[first];
    if (greatest >= least && greatest > 1 - least + negligible) return [...ofFirst(first)]; // nobody else has as much
    addUpMasses(generalist, membership, masses);
    const active: number[] = [];
    for (let m = 0; m < specialists; m++) if (masses[m] >= least) active.push(m);
    return active;
  };
  return {
    reads: isByMass || mayOverflow ? 'masses' : top === 1 ? 'first' : 'order',
    route(generalist, first, order) {
      const active = isByMass ? byMass(generalist, first, mass) : byTop(generalist, first, order);
      if (active.length <= most) return active;
      addUpMasses(generalist, membership, masses);
      return active
        .sort((a, b) => masses[b] - masses[a] || a - b)
        .slice(0, most)
        .sort(ascending);
    },
  };
}

const ascending = (a: number, b: number) => a - b;

function largestDifference(offsets: Int32Array): number {
  let largest = 0;
  for (let c = 1; c < offsets.length; c++) largest = Math.max(largest, offsets[c] - offsets[c - 1]);
  return largest;
}

/** The generalist's mass on each subset, by position of its specialist; most classes have next to none. */
function addUpMasses(
  probabilities: Float32Array | Float64Array,
  { offsets, specialists }: SubsetMembership,
  masses: Float64Array,
): void {
  masses.fill(0);
  const { length } = probabilities;
  for (let c = 0; c < length; c++) {
    c = nextAtLeast(probabilities, c, negligible);
    if (c === length) return;
    for (let i = offsets[c]; i < offsets[c + 1]; i++) masses[specialists[i]] += probabilities[c];
  }
}

/** The positions of the n greatest values, the greatest first, by insertion into a short list. */
export function mostProbable(values: Float32Array | Float64Array, n: number): number[] {
  const best: number[] = [];
  const insert = (position: number) => {
    let place = best.length;
    while (place > 0 && values[position] > values[best[place - 1]]) place--;
    best.splice(place, 0, position);
  };
  const first = Math.min(n, values.length);
  for (let i = 0; i < first; i++) insert(i);
  for (let i = first; ; i++) {
    i = nextGreater(values, i, values[best[best.length - 1]]);
    if (i === values.length) return best;
    insert(i);
    best.pop();
  }
}

// Most classes are passed over, so that a comparison a class is all that they cost. Loops of their own, in which V8 keeps what
// they read in registers: in a function whose values a closure shares they take four times as long.

/** The next position, from one on, of a value that is greater; the length for none. */
function nextGreater(values: Float32Array | Float64Array, from: number, least: number): number {
  const { length } = values;
  let at = from;
  while (at < length && !(values[at] > least)) at++;
  return at;
}

/** The next position, from one on, of a value that is as great; the length for none. */
function nextAtLeast(values: Float32Array | Float64Array, from: number, least: number): number {
  const { length } = values;
  let at = from;
  while (at < length && !(values[at] >= least)) at++;
  return at;
}
