import {
  checkClass,
  checkedSum,
  checkLengths,
  checkWeight,
  type Logarithms,
  type Probabilities,
  type SpecialistAnswer,
  smallestSoftmax,
  sumOfMasses,
} from './fusion-input.js';

/** A mass of a subset from which on what is left is summed. */
export const nearlyAll = 0.98;

/** Options of {@link combineInside}. */
export interface CombineOptions {
  readonly generalistWeight?: number;
  /** v, how far a specialist is believed about whether the class lies in its subset at all, in [0, 1]. */
  readonly dustbinTrust?: number;
  /** (classes), of the generalist. */
  readonly logarithms?: Logarithms;
  /** (classes), where the answer is written instead of into a new array. */
  readonly out?: Float64Array;
}

/**
 * A small fitted combiner: a geometric mean inside the subset, and between the two beliefs about the subset's mass.
 *
 *     q_i = Q' r_i / sum_S r   with   r_i = (p^g_i)^(w_g/W) (p^m_i)^(w/W),  W = w_g + w     for i in S
 *     logit Q' = (1 - v) logit Q_S + v logit(1 - p^m_dustbin)
 *
 * with `Q_S` the generalist's mass on S; classes outside keep their proportions and share `1 - Q'`. With v = 0 the
 * dustbin is left to the generalist, as in `shareInside`; with v = 1 it is left to the specialist. What is fitted
 * beside v are the weight and the temperatures: two experts whose errors are independent multiply. Specialists that
 * overlap take turns, in order; one that puts everything in its dustbin changes nothing inside.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 *
 * Cost: one pass over the classes a specialist, and three transcendental functions for each of its own, of which
 * logarithms that are at hand spare two.
 */
export function combineInside(
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  {
    generalistWeight = 1,
    dustbinTrust = 0,
    logarithms,
    out: q = new Float64Array(generalist.length),
  }: CombineOptions = {},
): Float64Array {
  checkWeight(generalistWeight, 'the generalist');
  const scale = 1 / checkedSum(generalist, 'the generalist');
  for (let c = 0; c < q.length; c++) q[c] = scale * generalist[c];
  for (let m = 0; m < specialists.length; m++) {
    const owner = `specialist ${m}`;
    checkLengths(specialists[m], owner);
    checkedSum(specialists[m].probabilities, owner);
    const { classes, probabilities } = specialists[m];
    const weight = checkWeight(specialists[m].weight ?? 1, owner);
    const share = weight / (generalistWeight + weight);

    let inside = 0; // Q_S
    let named = 0; // 1 - p^m_dustbin
    for (let i = 0; i < classes.length; i++) {
      inside += q[checkClass(classes[i], q.length, owner)];
      named += probabilities[i];
    }
    if (named === 0) continue;
    const logs = new Float64Array(classes.length); // of r
    const ofGeneralist = m === 0 ? logarithms : undefined; // the others find q changed
    addLogarithms(logs, 1 - share, q, { known: ofGeneralist, classes });
    addLogarithms(logs, share, probabilities, { known: specialists[m].logarithms });
    let largest = Number.NEGATIVE_INFINITY; // is taken out, so that nothing underflows
    for (let i = 0; i < logs.length; i++) if (logs[i] > largest) largest = logs[i];
    let total = 0;
    for (let i = 0; i < classes.length; i++) {
      logs[i] = Math.exp(logs[i] - largest);
      total += logs[i];
    }
    let outside = Math.max(0, 1 - inside);
    if (dustbinTrust > 0 && inside > nearlyAll) {
      for (let i = 0; i < classes.length; i++) q[classes[i]] = 0;
      outside = sumOfMasses(q, 'the generalist'); // the difference to 1 would be rounding
      inside /= inside + outside;
    }
    const target = outside > 0 ? believedMass(inside, named, probabilities[classes.length], dustbinTrust) : 1;
    if (target !== inside && outside > 0) {
      const scale = (1 - target) / outside;
      for (let c = 0; c < q.length; c++) q[c] *= scale;
    }
    for (let i = 0; i < classes.length; i++) q[classes[i]] = (target * logs[i]) / total;
  }
  return q;
}

/** Adds a multiple of the logarithms of some classes' probabilities, up to a common term. */
function addLogarithms(
  sums: Float64Array,
  share: number,
  probabilities: Probabilities,
  { known, classes }: { readonly known: Logarithms | undefined; readonly classes?: Int32Array },
): void {
  const { scale = 1, values } = known ?? {};
  for (let i = 0; i < sums.length; i++) {
    const at = classes ? classes[i] : i;
    sums[i] += share * (values ? scale * values[at] : Math.log(Math.max(probabilities[at], smallestSoftmax)));
  }
}

/** Q', between the generalist's mass on the subset and the specialist's. */
export function believedMass(inside: number, named: number, dustbin: number, trust: number): number {
  if (trust === 0 || !(inside > 0 && inside < 1)) return inside;
  const logit = (mass: number, rest: number) =>
    Math.log(Math.max(mass, smallestSoftmax)) - Math.log(Math.max(rest, smallestSoftmax));
  const mixed = (1 - trust) * logit(inside, 1 - inside) + trust * logit(named, dustbin);
  return 1 / (1 + Math.exp(-mixed));
}
