import { KdSpecError } from '../../core/errors.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { smallestSoftmax } from '../rules/distributions.js';
import { minimiseDivergences } from './paper-graph.js';
import { type ExportedFusion, never, type Queried } from './query-graph.js';

/**
 * Step 3 of section 5.4 as a graph: the rule.
 *
 * @param q (batch, classes + 1), the generalist's at its temperature; the last column takes what only fills subsets up
 * @returns the same, fused
 * @throws KdSpecError `option-invalid` for a rule that cannot be written
 */
export function fuse(
  graph: GraphWriter,
  q: string,
  active: Queried,
  { rule, dustbinTrust, specialists }: Pick<ExportedFusion, 'rule' | 'dustbinTrust' | 'specialists'>,
): string {
  if (rule === 'share-inside' || rule === 'combine') {
    const trust = rule === 'combine' ? dustbinTrust : 0;
    const isShifted = specialists.some(({ massShift = 0 }) => massShift !== 0);
    const mean = rule === 'combine' ? geometric : arithmetic;
    // Subsets that share no class are fused at once, unless a dustbin changes the mass of what lies outside.
    if (active.areDisjoint && trust === 0) return inside(graph, q, active, { mean, trust, isShifted });
    const how = { mean, trust, isShifted };
    let fused = inside(graph, q, oneOf(graph, active, 0), how);
    for (let slot = 1; slot < active.slots; slot++) fused = insideOfQueried(graph, fused, active, slot, how);
    return fused;
  }
  if (rule === 'paper') return minimiseDivergences(graph, q, active);
  throw new KdSpecError(
    'option-invalid',
    `the rule "${rule}" cannot be written as a graph: calibrate with --rule combine or --rule share-inside`,
  );
}

/** One slot as if it were all. */
function oneOf(graph: GraphWriter, active: Queried, slot: number): Queried {
  if (active.slots === 1) return active;
  return { ...withValues(active, (x) => graph.slice(x, 1, slot, slot + 1)), slots: 1 };
}

/** The same with every value of (batch, slots, ...) replaced. */
function withValues(active: Queried, replace: (x: string) => string): Queried {
  const { ids, classIds, weight, share, lift, inverseTemperature, logits } = active;
  return {
    ...active,
    ids: replace(ids),
    classIds: replace(classIds),
    weight: replace(weight),
    share: replace(share),
    lift: replace(lift),
    inverseTemperature: replace(inverseTemperature),
    logits: replace(logits),
  };
}

/** {@link inside} of one slot, for the images that have a specialist there, if any has: most have one or none. */
function insideOfQueried(graph: GraphWriter, q: string, active: Queried, slot: number, how: Sharing): string {
  const ids = graph.reshape(graph.slice(active.ids, 1, slot, slot + 1), [-1]);
  const isQueried = graph.node('Less', [ids, graph.integers([active.none], [])]);
  const images = graph.reshape(graph.node('NonZero', [isQueried]), [-1]);
  const count = graph.reshape(graph.node('Shape', [images]), []);
  const ofQueried = () => {
    const own = withValues(oneOf(graph, active, slot), (x) => graph.gather(x, images, 0));
    const fused = inside(graph, graph.gather(q, images, 0), own, how);
    return graph.node('ScatterND', [q, graph.reshape(images, [-1, 1]), fused]);
  };
  return graph.when(graph.node('Less', [graph.integers([0], []), count]), ofQueried, q);
}

type Mean = (graph: GraphWriter, generalist: string, logits: string, active: Queried) => string;

interface Sharing {
  /** What a subset's mass is divided by. */
  readonly mean: Mean;
  /** How far dustbins change that mass; above 0 only for one slot. */
  readonly trust: number;
  /** Whether the odds of a subset are multiplied by `lift`; several slots then need disjoint subsets. */
  readonly isShifted: boolean;
}

/** Shares the mass of each subset out again inside it: the rules `share-inside` and `combine`. */
function inside(graph: GraphWriter, q: string, active: Queried, { mean, trust, isShifted }: Sharing): string {
  const { slots, largest, classIds, inverseTemperature } = active;
  const places = graph.reshape(classIds, [-1, slots * largest]);
  const masses = graph.reshape(graph.node('GatherElements', [q, places], { axis: 1 }), [-1, slots, largest]);
  const subsetMass = graph.sum(masses, 2); // (batch, slots, 1)
  const logits = graph.mul(active.logits, inverseTemperature);
  const distribution = mean(graph, masses, logits, active); // (batch, slots, largest), sums to 1
  const scatter = (into: string, values: string) =>
    graph.node('ScatterElements', [into, places, graph.reshape(values, [-1, slots * largest])], { axis: 1 });
  if (isShifted && trust === 0) {
    const shifted = scatter(q, graph.mul(distribution, graph.mul(subsetMass, active.lift)));
    return graph.div(shifted, graph.sum(shifted, 1));
  }
  if (trust === 0) return scatter(q, graph.mul(distribution, subsetMass));
  // One slot: the mass of the subset moves, and what lies outside is scaled.
  const isInside = graph.reshape(graph.gather(active.isMember, active.ids, 0), [0, -1]);
  const outside = graph.node('Where', [isInside, graph.scalar(0), q]);
  const left = graph.sum(outside, 1); // (batch, 1)
  const held = graph.reshape(subsetMass, [-1, 1]);
  const dustbin = graph.softmax(logits, 3);
  const inDustbin = graph.reshape(graph.slice(dustbin, 2, largest, largest + 1), [-1, 1]);
  const named = graph.reshape(graph.sum(graph.slice(dustbin, 2, 0, largest), 2), [-1, 1]);
  const logOdds = (a: string, b: string) => graph.sub(logOf(graph, a), logOf(graph, b));
  const believedOdds = graph.add(
    graph.mul(logOdds(held, left), graph.scalar(1 - trust)),
    graph.mul(logOdds(named, inDustbin), graph.scalar(trust)),
  );
  const odds = isShifted
    ? graph.add(believedOdds, graph.node('Log', [graph.reshape(active.lift, [-1, 1])]))
    : believedOdds;
  // What is left for the other classes is no difference to 1, which would be rounding; nor are these nodes of Sigmoid,
  // which ONNX Runtime computes to an absolute error, not to a relative one.
  const one = graph.scalar(1);
  const sigmoid = (x: string) => graph.div(one, graph.add(one, graph.node('Exp', [graph.node('Neg', [x])])));
  const believed = sigmoid(odds);
  const disbelieved = sigmoid(graph.node('Neg', [odds]));
  const total = graph.add(held, left);
  const moves = graph.node('And', [
    graph.node('Greater', [left, graph.scalar(0)]),
    graph.node('Greater', [held, graph.scalar(0)]),
  ]);
  const target = graph.node('Where', [moves, graph.mul(believed, total), held]);
  const scale = graph.node('Where', [
    moves,
    graph.div(graph.mul(disbelieved, total), graph.node('Max', [left, graph.scalar(smallestSoftmax)])),
    graph.scalar(1),
  ]);
  const mass = graph.reshape(target, [-1, 1, 1]);
  return scatter(graph.mul(outside, scale), graph.mul(distribution, mass));
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

function logOf(graph: GraphWriter, x: string): string {
  return graph.node('Log', [graph.node('Max', [x, graph.scalar(smallestSoftmax)])]);
}
