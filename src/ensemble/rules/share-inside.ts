import {
  checkWeight,
  type Probabilities,
  type SpecialistPrediction,
  startFromGeneralist,
  subsetMasses,
} from './distributions.js';
import type { FastFormOptions, FuseInPlace, FusionOptions, FusionRule } from './rule.js';

/** The rule by which specialists divide the generalist's mass by the arithmetic mean. */
export const shareInside: FusionRule = {
  name: 'share-inside',
  title: "keeps the generalist's probability of a subset, and divides it by the arithmetic mean inside",
  problem:
    'minimise over q with q = p^g outside S: w_g KL(p^g(. | S) || q(. | S)) + w KL(p^m(. | S) || q(. | S))',
  parameters: [],
  usesDustbin: () => false,
  create: () => shareOut,
  createFast: shareOutInPlace,
};

/**
 * Each specialist shares out, inside its subset, the mass that the generalist puts there.
 *
 *     q_i = Q_S (w_g p^g_i/Q_S + w p^m_i/(1 - p^m_dustbin)) / (w_g + w)   for i in S,   q_i = p^g_i elsewhere
 *
 * with `Q_S` the generalist's mass on S: the arithmetic mean of the two conditional distributions over S, which is what
 * `problem` below asks for. Dustbins are ignored: whether the class lies in S is left to the generalist, which has seen
 * all classes. Specialists that overlap take turns, in order, each on what the one before it left; a specialist that
 * puts everything in its dustbin changes nothing.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 *
 * Cost: one copy of the classes, and the sum of the subsets' sizes.
 */
function shareOut(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  { generalistWeight = 1, out: q = new Float64Array(generalist.length) }: FusionOptions = {},
): Float64Array {
  checkWeight(generalistWeight, 'the generalist');
  startFromGeneralist(generalist, q);
  for (let m = 0; m < specialists.length; m++) {
    const { classes, probabilities } = specialists[m];
    const { weight, inside, named } = subsetMasses(q, specialists[m], `specialist ${m}`);
    if (named === 0) continue;
    const kept = generalistWeight / (generalistWeight + weight);
    const shared = (weight / (generalistWeight + weight)) * inside;
    for (let i = 0; i < classes.length; i++) {
      const c = classes[i];
      q[c] = kept * q[c] + shared * (probabilities[i] / named);
    }
  }
  return q;
}

/**
 * {@link shareOut} of logits: only the classes of the subsets are visited.
 *
 * Cost: an exponential for each class of the subsets.
 */
function shareOutInPlace({ largestSubset }: FastFormOptions): FuseInPlace {
  const room = new Float64Array(largestSubset); // the specialist's distribution inside, but for a factor
  return (q, specialists) => {
    for (const { classes, logits, temperature, weight } of specialists) {
      const size = classes.length;
      let largest = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < size; i++) if (logits[i] > largest) largest = logits[i];
      let inside = 0; // Q_S
      let total = 0;
      for (let i = 0; i < size; i++) {
        inside += q[classes[i]];
        room[i] = Math.exp((logits[i] - largest) / temperature);
        total += room[i];
      }
      const kept = 1 / (1 + weight);
      const shared = ((1 - kept) * inside) / total;
      for (let i = 0; i < size; i++) q[classes[i]] = kept * q[classes[i]] + shared * room[i];
    }
  };
}
