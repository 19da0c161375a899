import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { smallestSoftmax } from './distributions.js';
import { logOf, type Queried } from './graph-form.js';

/** The graph form of the rules that share the mass of a subset out inside it: `share-inside` and `combine`. */
export interface Sharing {
  /** (batch, slots, largest), the distribution inside each subset, from the generalist's masses there. */
  readonly mean: (graph: GraphWriter, generalist: string, logits: string, active: Queried) => string;
  /** How far dustbins change the mass of a subset. */
  readonly trust: number;
}

/**
 * Shares the mass of each queried subset out again, one subset after the other, or all at once where none can change
 * what another one finds.
 *
 * @param q (batch, classes + 1), the generalist's at its temperature; the last column takes what only fills subsets up
 * @returns the same, fused
 */
export function writeSharing(graph: GraphWriter, q: string, active: Queried, how: Sharing): string {
  // Subsets that share no class are fused at once, unless a dustbin changes the mass of what lies outside.
  if (active.areDisjoint && how.trust === 0) return inside(graph, q, active, how);
  let fused = inside(graph, q, oneOf(graph, active, 0), how);
  for (let slot = 1; slot < active.slots; slot++) fused = insideOfQueried(graph, fused, active, slot, how);
  return fused;
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

/** Shares the mass of each subset out again inside it; with trust, or a shift and subsets that may overlap, of one slot. */
function inside(graph: GraphWriter, q: string, active: Queried, { mean, trust }: Sharing): string {
  const { slots, largest, classIds, inverseTemperature, isShifted } = active;
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
