import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import {
  checkWeight,
  type Probabilities,
  type SpecialistPrediction,
  scaleAll,
  smallestSoftmax,
  startFromGeneralist,
  subsetMasses,
  sumOfMasses,
} from './distributions.js';
import type { Queried } from './graph-form.js';
import {
  type FastFormOptions,
  type FuseInPlace,
  type FusionOptions,
  type FusionRule,
  massShift,
  parameterValue,
} from './rule.js';
import { writeSharing } from './sharing-graph.js';

/** The rule by which specialists divide the generalist's mass by the arithmetic mean. */
export const shareInside: FusionRule = {
  name: 'share-inside',
  title:
    "keeps the generalist's probability of a subset (or shifts it, where --bystanders tell how far), and divides it by the arithmetic mean inside",
  problem:
    "minimise over q: w_g KL(p^g(. | S) || q(. | S)) + w KL(p^m(. | S) || q(. | S)), with q's mass Q' on S minimising " +
    "KL(Q' || Q_S) - shift Q', and the proportions of p^g outside",
  parameters: [massShift],
  usesDustbin: () => false,
  massOf({ inside }, _, own) {
    const shift = parameterValue(massShift, own);
    const total = 1 + Math.expm1(shift) * inside;
    return { inside: (Math.exp(shift) * inside) / total, outside: (1 - inside) / total };
  },
  cost: ({ inSubsets }) => 2 + 0.01 * inSubsets,
  create: () => shareOut,
  createFast: shareOutInPlace,
  writeGraph: (graph, q, queried) => writeSharing(graph, q, queried, { mean: arithmetic, trust: 0 }),
};

/**
 * Each specialist shares out, inside its subset, the mass that the generalist puts there, after a shift of its odds.
 *
 *     q_i = Q' (w_g p^g_i/Q_S + w p^m_i/(1 - p^m_dustbin)) / (w_g + w)   for i in S
 *     q_i = p^g_i (1 - Q') / (1 - Q_S)                                   elsewhere
 *     logit Q' = logit Q_S + shift
 *
 * with `Q_S` the generalist's mass on S: the arithmetic mean of the two conditional distributions over S, which is what
 * `problem` above asks for. Without a shift, all classes outside keep their probabilities. Dustbins are ignored: whether
 * the class lies in S is left to the generalist, which has seen all classes. Specialists that overlap take turns, in
 * order, each on what the one before it left; of disjoint ones the order makes no difference. A specialist that puts
 * everything in its dustbin changes nothing.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 *
 * Cost: one copy of the classes, and the sum of the subsets' sizes; a pass over the classes for each shift but 0.
 */
function shareOut(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  { generalistWeight = 1, out: q = new Float64Array(generalist.length) }: FusionOptions = {},
): Float64Array {
  checkWeight(generalistWeight, 'the generalist');
  startFromGeneralist(generalist, q);
  for (let m = 0; m < specialists.length; m++) {
    const { classes, probabilities, parameters } = specialists[m];
    const { weight, inside, named } = subsetMasses(q, specialists[m], `specialist ${m}`);
    if (named === 0) continue;
    const shift = parameterValue(massShift, parameters);
    const lift = Math.exp(shift);
    const total = 1 + Math.expm1(shift) * inside;
    const kept = (lift * generalistWeight) / (generalistWeight + weight);
    const shared = lift * (weight / (generalistWeight + weight)) * inside;
    for (let i = 0; i < classes.length; i++) {
      const c = classes[i];
      q[c] = kept * q[c] + shared * (probabilities[i] / named);
    }
    if (total !== 1) for (let c = 0; c < q.length; c++) q[c] /= total;
  }
  return q;
}

/** Shifts, in nats, that may add up before a row is scaled to 1, so that single precision holds it. */
const mostPending = 16;

/**
 * {@link shareOut} of logits: only the classes of the subsets are visited, and a row that was shifted is scaled to 1 once,
 * at the end.
 *
 * Cost: an exponential for each class of the subsets; with a shift, two passes over the classes.
 */
function shareOutInPlace({ largestSubset, kernel }: FastFormOptions): FuseInPlace {
  const room = new Float64Array(largestSubset); // the specialist's distribution inside, but for a factor
  return (q, specialists) => {
    let pending = 0;
    for (const { classes, logits, temperature, weight, parameters } of specialists) {
      const size = classes.length;
      let largest = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < size; i++) if (logits[i] > largest) largest = logits[i];
      let inside = 0; // Q_S, but for the row's factor
      let total = 0;
      for (let i = 0; i < size; i++) {
        inside += q[classes[i]];
        room[i] = Math.exp((logits[i] - largest) / temperature);
        total += room[i];
      }
      const shift = parameterValue(massShift, parameters);
      const lift = shift === 0 ? 1 : Math.exp(shift);
      const kept = 1 / (1 + weight);
      const shared = (lift * (1 - kept) * inside) / total;
      for (let i = 0; i < size; i++) q[classes[i]] = lift * kept * q[classes[i]] + shared * room[i];
      pending += Math.abs(shift);
      if (pending > mostPending) {
        scaleToOne(q, kernel);
        pending = 0;
      }
    }
    if (pending > 0) scaleToOne(q, kernel);
  };
}

function scaleToOne(q: Float32Array, kernel: FastFormOptions['kernel']): void {
  scaleAll(q, 1 / sumOfMasses(q, 'the ensemble'), kernel);
}

/** `(1 - share) p^g + share p^m`, each of its sum inside the subset. */
function arithmetic(
  graph: GraphWriter,
  generalist: string,
  logits: string,
  { share, largest }: Queried,
): string {
  const specialist = graph.softmax(graph.slice(logits, 2, 0, largest), 3);
  const held = graph.node('Max', [graph.sum(generalist, 2), graph.scalar(smallestSoftmax)]);
  return graph.add(
    graph.mul(graph.div(generalist, held), graph.sub(graph.scalar(1), share)),
    graph.mul(specialist, share),
  );
}
