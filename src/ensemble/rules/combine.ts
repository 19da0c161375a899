import type { GeometricMean } from '../../compute/operations.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import {
  checkWeight,
  type Logarithms,
  type Probabilities,
  type SpecialistPrediction,
  scaleAll,
  smallestSoftmax,
  startFromGeneralist,
  subsetMasses,
  sumOfMasses,
} from './distributions.js';
import { logOf, never, type Queried } from './graph-form.js';
import {
  type FastFormOptions,
  type FuseInPlace,
  type FusionOptions,
  type FusionRule,
  type MassBeliefs,
  type MassOfSubset,
  massShift,
  parameterValue,
  type RuleParameter,
  type SpecialistLogits,
} from './rule.js';
import { writeSharing } from './sharing-graph.js';

/** v, how far specialists are believed about whether the class lies in their subset at all, in [0, 1]. */
const dustbinTrust: RuleParameter = {
  name: 'dustbinTrust',
  title: 'weight of the dustbin in the probability of a subset',
  per: 'ensemble',
  neutral: 0,
  range: [1 / 64, 1],
  scale: 'log',
  tolerance: 0.05,
  fittedOn: 'validation',
};

/** The rule of geometric means: inside a subset, and between the two beliefs about the subset's mass. */
export const combine: FusionRule = {
  name: 'combine',
  title:
    'takes the geometric mean inside a subset, and weights generalist and dustbin for the probability of the subset (shifted, where --bystanders tell how far)',
  problem:
    "minimise over q: (w_g KL(q(. | S) || p^g(. | S)) + w KL(q(. | S) || p^m(. | S))) / (w_g + w), with q's mass Q' on S " +
    "minimising (1 - v) KL(Q' || Q_S) + v KL(Q' || 1 - p^m_dustbin) - shift Q', and the proportions of p^g outside",
  parameters: [dustbinTrust, massShift],
  usesDustbin: (parameters) => parameterValue(dustbinTrust, parameters) > 0,
  massOf: (beliefs, parameters, own) =>
    believedMass(beliefs, {
      trust: parameterValue(dustbinTrust, parameters),
      shift: parameterValue(massShift, own),
    }),
  cost: ({ inSubsets }) => 2 + 0.05 * inSubsets, // logarithms and exponentials
  create: () => combineExactly,
  createFast: combineInPlace,
  writeGraph: (graph, q, queried, parameters) =>
    writeSharing(graph, q, queried, { mean: geometric, trust: parameterValue(dustbinTrust, parameters) }),
};

/** A mass of a subset from which on what is left is summed. */
const nearlyAll = 0.98;

/** The same threshold in single precision where a shift raises what is left, and its rounding with it. */
const half = 0.5;

/** Nats below the largest logit from which on {@link smallestSoftmax}, 69 below a softmax of 1, may be near. */
const farBelow = 50;

/** A row is scaled as a whole before its pending factor leaves `[1 / pendingRange, pendingRange]`. */
const pendingRange = 1000;

/**
 * A geometric mean inside the subset, and between the two beliefs about the subset's mass.
 *
 *     q_i = Q' r_i / sum_S r   with   r_i = (p^g_i)^(w_g/W) (p^m_i)^(w/W),  W = w_g + w     for i in S
 *     logit Q' = (1 - v) logit Q_S + v logit(1 - p^m_dustbin) + shift
 *
 * with `Q_S` the generalist's mass on S; classes outside keep their proportions and share `1 - Q'`. With v = 0 the
 * dustbin is left to the generalist, as in `shareInside`; with v = 1 it is left to the specialist. The shift is one for
 * each specialist, fitted where bystanders tell what it costs. What is fitted beside v are the weight and the
 * temperatures: two experts whose errors are independent multiply. Specialists that overlap take turns, in order; one
 * that puts everything in its dustbin changes nothing inside.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 *
 * Cost: one pass over the classes a specialist, and three transcendental functions for each of its own, of which
 * logarithms that are at hand spare two.
 */
function combineExactly(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  {
    generalistWeight = 1,
    parameters,
    logarithms,
    out: q = new Float64Array(generalist.length),
  }: FusionOptions = {},
): Float64Array {
  const trust = parameterValue(dustbinTrust, parameters);
  checkWeight(generalistWeight, 'the generalist');
  startFromGeneralist(generalist, q);
  for (let m = 0; m < specialists.length; m++) {
    const { classes, probabilities, parameters: own } = specialists[m];
    const shift = parameterValue(massShift, own);
    const moves = trust > 0 || shift !== 0;
    const masses = subsetMasses(q, specialists[m], `specialist ${m}`);
    const { weight, named } = masses;
    let { inside } = masses;
    const share = weight / (generalistWeight + weight);
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
    if (moves && inside > nearlyAll) {
      for (let i = 0; i < classes.length; i++) q[classes[i]] = 0;
      outside = sumOfMasses(q, 'the generalist'); // the difference to 1 would be rounding
      inside /= inside + outside;
    }
    const target =
      outside > 0
        ? believedMass({ inside, named, dustbin: probabilities[classes.length] }, { trust, shift })
        : everything;
    if (target.inside !== inside && outside > 0) {
      const scale = target.outside / outside;
      for (let c = 0; c < q.length; c++) q[c] *= scale;
    }
    for (let i = 0; i < classes.length; i++) q[classes[i]] = (target.inside * logs[i]) / total;
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

const everything: MassOfSubset = { inside: 1, outside: 0 };

/** Q', between the generalist's mass on the subset and the specialist's, and shifted. */
function believedMass(
  { inside, named, dustbin }: MassBeliefs,
  { trust, shift }: { readonly trust: number; readonly shift: number },
): MassOfSubset {
  if ((trust === 0 && shift === 0) || !(inside > 0 && inside < 1)) return { inside, outside: 1 - inside };
  const logit = (mass: number, rest: number) =>
    Math.log(Math.max(mass, smallestSoftmax)) - Math.log(Math.max(rest, smallestSoftmax));
  const believed = trust === 0 ? 0 : trust * logit(named, dustbin);
  const mixed = (1 - trust) * logit(inside, 1 - inside) + believed + shift;
  return { inside: 1 / (1 + Math.exp(-mixed)), outside: 1 / (1 + Math.exp(mixed)) };
}

/**
 * {@link combine} of logits, in place: for many images, where nothing has to be checked.
 *
 * A softmax is a distribution by its making, and the logarithms of a specialist's are its logits but for a common
 * term. What lies outside the subsets only changes by a factor, which is applied once, at the end.
 *
 * Cost: two or, with trust, three transcendental functions for each class of the subsets, and with trust or a
 * shift one pass over the classes, or two where the generalist is sure of the subset.
 */
function combineInPlace({ largestSubset, parameters, kernel }: FastFormOptions): FuseInPlace {
  const trust = parameterValue(dustbinTrust, parameters);
  const room = new Float64Array(largestSubset);
  return (q, specialists) => {
    let pending = 1; // q is this times what is stored
    for (const prediction of specialists) {
      const { classes } = prediction;
      const shift = parameterValue(massShift, prediction.parameters);
      const moves = trust > 0 || shift !== 0;
      const smallest = smallestSoftmax / pending;
      const mean =
        (kernel && meanByKernel(q, prediction, kernel, smallest, trust > 0)) ??
        meanInJavaScript(q, prediction, room, smallest, trust > 0);
      if (mean === 'all in the dustbin') continue;
      const { sum, values, total, named, dustbin } = mean;
      let inside = pending * sum; // Q_S
      let outside = Math.max(0, 1 - inside);
      if (moves && inside > (shift < 0 ? half : nearlyAll)) {
        for (let i = 0; i < classes.length; i++) q[classes[i]] = 0;
        outside = pending * sumOfMasses(q, 'the generalist'); // the difference to 1 would be rounding
        inside /= inside + outside;
      }
      const target = outside > 0 ? believedMass({ inside, named, dustbin }, { trust, shift }) : everything;
      if (target.inside !== inside && outside > 0) {
        pending *= target.outside / outside;
        if (!(pending > 1 / pendingRange && pending < pendingRange)) {
          scaleAll(q, pending, kernel);
          pending = 1;
        }
      }
      const share = target.inside / total / pending;
      for (let i = 0; i < classes.length; i++) q[classes[i]] = share * values[i];
    }
    if (pending !== 1) scaleAll(q, pending, kernel);
  };
}

/** The geometric mean of generalist and specialist inside a subset. */
interface InsideMean {
  /** Of what is stored of the generalist there. */
  readonly sum: number;
  /** (s or more), the mean but for a factor. */
  readonly values: Float32Array | Float64Array;
  /** Its sum. */
  readonly total: number;
  /** The specialist's mass on its subset, and in its dustbin; only exact where they matter. */
  readonly named: number;
  readonly dustbin: number;
}

/** @returns `all in the dustbin` where the specialist puts everything in its dustbin */
function meanInJavaScript(
  q: Float32Array,
  { classes, logits, temperature, weight }: SpecialistLogits,
  values: Float64Array,
  smallest: number,
  exact: boolean,
): InsideMean | 'all in the dustbin' {
  const { named, dustbin, floor } = namedMasses(logits, temperature, exact);
  if (named === 0) return 'all in the dustbin';
  const ofGeneralist = 1 / (1 + weight);
  const ofSpecialist = (1 - ofGeneralist) / temperature;
  let sum = 0;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < classes.length; i++) {
    const mass = q[classes[i]];
    sum += mass;
    const log = ofGeneralist * Math.log(Math.max(mass, smallest)) + ofSpecialist * Math.max(logits[i], floor);
    values[i] = log;
    if (log > largest) largest = log;
  }
  let total = 0;
  for (let i = 0; i < classes.length; i++) {
    values[i] = Math.exp(values[i] - largest);
    total += values[i];
  }
  return { sum, values, total, named, dustbin };
}

/** @returns undefined where what a softmax counts as least is near, which the kernel leaves to JavaScript */
function meanByKernel(
  q: Float32Array,
  { classes, logits, masses, temperature, weight }: SpecialistLogits,
  kernel: GeometricMean,
  smallest: number,
  exact: boolean,
): InsideMean | undefined {
  const size = classes.length;
  const ofGeneralist = 1 / (1 + weight);
  const values = kernel.values();
  if (masses) values.set(masses);
  else for (let i = 0; i < size; i++) values[i] = q[classes[i]];
  values.set(logits, kernel.logitsAt);
  const scale = exact ? 1 / temperature : undefined;
  const ofSpecialist = (1 - ofGeneralist) / temperature;
  const found = kernel.run(size, ofGeneralist, ofSpecialist, smallest, scale);
  const { sum, total, largestLogit, smallestLogit, exponentials } = found;
  const top = exact ? Math.max(largestLogit, logits[size]) : largestLogit;
  if ((top - smallestLogit) / temperature > farBelow) return undefined;
  if (!exact) return { sum, values, total, named: 1, dustbin: 0 };
  const inside = exponentials * Math.exp((largestLogit - top) / temperature);
  const rest = Math.exp((logits[size] - top) / temperature);
  return { sum, values, total, named: inside / (inside + rest), dustbin: rest / (inside + rest) };
}

/**
 * The mass that a specialist puts on its subset, and in its dustbin; and the logit below which a class counts as
 * having `smallestSoftmax`.
 *
 * @param exact false where the dustbin is not to make a difference, as if all mass lay on the subset
 */
function namedMasses(
  logits: Float32Array,
  temperature: number,
  exact: boolean,
): { readonly named: number; readonly dustbin: number; readonly floor: number } {
  const size = logits.length - 1;
  let largest = Number.NEGATIVE_INFINITY;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    if (logits[i] > largest) largest = logits[i];
    if (logits[i] < least) least = logits[i];
  }
  const top = exact ? Math.max(largest, logits[size]) : largest;
  const reachesFloor = (top - least) / temperature > farBelow;
  if (!exact && !reachesFloor) return { named: 1, dustbin: 0, floor: Number.NEGATIVE_INFINITY };
  let sum = 0;
  for (let i = 0; i < size; i++) sum += Math.exp((logits[i] - top) / temperature);
  const rest = exact ? Math.exp((logits[size] - top) / temperature) : 0;
  const floor = top + temperature * (Math.log(smallestSoftmax) + Math.log(sum + rest));
  return { named: sum / (sum + rest), dustbin: rest / (sum + rest), floor };
}

/** `(p^g)^(1 - share) (p^m)^share`, scaled to sum to 1 inside the subset. */
function geometric(
  graph: GraphWriter,
  generalist: string,
  logits: string,
  { share, largest }: Queried,
): string {
  const specialist = graph.slice(graph.logSoftmax(logits, 3), 2, 0, largest);
  const floor = graph.scalar(Math.log(smallestSoftmax));
  const filler = graph.node('Less', [specialist, graph.scalar(never / 100)]); // fills a subset up
  const logs = graph.add(
    graph.mul(logOf(graph, generalist), graph.sub(graph.scalar(1), share)),
    graph.mul(graph.node('Max', [specialist, floor]), share),
  );
  return graph.softmax(graph.node('Where', [filler, graph.scalar(never), logs]), 3);
}
