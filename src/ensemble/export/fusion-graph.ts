import { KdSpecError } from '../../core/errors.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import type { FoldedLayer } from '../../models/onnx/network-graph.js';
import { smallestSoftmax } from '../rules/distributions.js';

/** A specialist as a graph needs it. */
export interface ExportedSpecialist {
  /** (s), the subset: distinct class indices. */
  readonly classes: Int32Array;
  /** ReLU layers and, last, the head of s + 1 outputs, the dustbin last. */
  readonly layers: readonly FoldedLayer[];
  readonly temperature: number;
  readonly weight: number;
  /** Of the rule `share-inside`, in nats; 0 where it is left out. */
  readonly massShift?: number;
  /** Added to the dustbin's logit. */
  readonly correction: number;
}

/** An ensemble as a graph needs it. */
export interface ExportedFusion {
  readonly classes: number;
  /** Width of the features that specialists take. */
  readonly width: number;
  readonly generalistTemperature: number;
  readonly routing: { readonly top: number } | { readonly mass: number };
  readonly rule: string;
  readonly dustbinTrust: number;
  /** Those that take part. */
  readonly specialists: readonly ExportedSpecialist[];
}

/** Values of the graph that the fusion starts from. */
export interface FusionInputs {
  /** (batch, classes), the generalist's. */
  readonly logits: string;
  /** (batch, width) */
  readonly features: string;
}

/** Values that the fusion adds. */
export interface FusionOutputs {
  /** (batch, classes), fused. */
  readonly probabilities: string;
  /** (batch, classes), the generalist's at temperature 1. */
  readonly generalist: string;
}

/** A logit that leaves nothing to a class that only fills a subset up. */
const never = -1e9;

/** A class below this does not count when masses are compared with a threshold, as in routing. */
const negligible = 1e-6;

/**
 * Writes routing, specialists, calibration and fusion of an ensemble into a graph, in standard operators without a
 * loop.
 *
 * The weights of all specialists are stored once and gathered by id for each image: subsets are filled up to the
 * largest, and layers to the widest, with what has no effect.
 *
 * @throws KdSpecError `option-invalid` for a rule that cannot be written
 */
export function writeFusion(
  graph: GraphWriter,
  inputs: FusionInputs,
  ensemble: ExportedFusion,
): FusionOutputs {
  const { classes, generalistTemperature, specialists } = ensemble;
  const generalist = graph.softmax(inputs.logits, 2);
  if (specialists.length === 0) return { probabilities: generalist, generalist };
  const tables = writeTables(graph, ensemble);
  const active = writeRouting(graph, generalist, ensemble, tables);
  const logits = writeSpecialists(graph, inputs.features, ensemble, active, tables);
  const softened =
    generalistTemperature === 1
      ? generalist
      : graph.softmax(graph.div(inputs.logits, graph.scalar(generalistTemperature)), 2);
  // One more column, of no mass, takes what only fills subsets up.
  const nothing = graph.mul(graph.slice(softened, 1, 0, 1), graph.scalar(0));
  const extended = graph.concat([softened, nothing], 1); // (batch, classes + 1)
  const fused = fuse(graph, extended, { ...active, logits }, ensemble);
  return { probabilities: graph.slice(fused, 1, 0, classes), generalist };
}

/** What is stored of all specialists, by position; a row after the last stands for none. */
interface Tables {
  /** Classes of the largest subset. */
  readonly largest: number;
  /** (specialists + 1, largest), class indices; the number of classes fills up. */
  readonly classIds: string;
  /** (specialists + 1, 1) each: the weight, its share beside the generalist's weight of 1. */
  readonly weight: string;
  readonly share: string;
  /** What the mass of the subset is multiplied by before all is scaled to 1. */
  readonly lift: string;
  readonly inverseTemperature: string;
  readonly areDisjoint: boolean;
  /** The most subsets that share a class. */
  readonly mostPerClass: number;
}

function writeTables(graph: GraphWriter, { classes, specialists }: ExportedFusion): Tables {
  const count = specialists.length;
  const largest = Math.max(...specialists.map((specialist) => specialist.classes.length));
  const ids = new Int32Array((count + 1) * largest).fill(classes);
  const covering = new Int32Array(classes);
  for (const [m, specialist] of specialists.entries()) {
    ids.set(specialist.classes, m * largest);
    for (const c of specialist.classes) covering[c]++;
  }
  const column = (value: (specialist: ExportedSpecialist) => number, none: number) =>
    graph.floats([...specialists.map(value), none], [count + 1, 1]);
  const mostPerClass = covering.reduce((most, times) => Math.max(most, times), 0);
  return {
    largest,
    classIds: graph.integers(ids, [count + 1, largest]),
    weight: column(({ weight }) => weight, 0),
    share: column(({ weight }) => weight / (1 + weight), 0),
    lift: column(({ massShift = 0 }) => Math.exp(massShift), 1),
    inverseTemperature: column(({ temperature }) => 1 / temperature, 1),
    areDisjoint: mostPerClass <= 1,
    mostPerClass,
  };
}

/** The specialists that are queried for each image. */
interface Active {
  /** Most specialists of an image. */
  readonly slots: number;
  /** (batch, slots), positions, ascending; the number of specialists stands for none. */
  readonly ids: string;
  /** (batch, slots, largest) */
  readonly classIds: string;
  /** (batch, slots, 1) each; no specialist has a weight of 0. */
  readonly weight: string;
  readonly share: string;
  readonly lift: string;
  readonly inverseTemperature: string;
  readonly largest: number;
  readonly areDisjoint: boolean;
}

/** Step 1 and 2 of section 5.4: which specialists are queried. */
function writeRouting(
  graph: GraphWriter,
  generalist: string,
  { classes, routing, specialists }: ExportedFusion,
  { largest, classIds, weight, share, lift, inverseTemperature, areDisjoint, mostPerClass }: Tables,
): Active {
  const count = specialists.length;
  const none = graph.integers([count], []);
  let ids: string;
  let slots: number;
  if ('top' in routing) {
    const top = Math.min(routing.top, classes);
    slots = Math.min(top * mostPerClass, count);
    const [, first] = graph.nodes('TopK', [generalist, graph.integers([top], [1])], 2, { axis: 1 });
    const covering = new Int32Array(classes * mostPerClass).fill(count);
    const filled = new Int32Array(classes);
    for (const [m, specialist] of specialists.entries())
      for (const c of specialist.classes) covering[c * mostPerClass + filled[c]++] = m;
    const called = graph.gather(graph.integers(covering, [classes, mostPerClass]), first, 0);
    const sorted = ascending(graph, graph.reshape(called, [-1, top * mostPerClass]), top * mostPerClass);
    ids = withoutRepetition(graph, sorted, top * mostPerClass, none);
    if (slots < top * mostPerClass) ids = graph.slice(ids, 1, 0, slots);
  } else {
    slots = Math.min(count, Math.max(1, Math.floor((mostPerClass + 1e-9) / routing.mass)));
    const counted = graph.node('Where', [
      graph.node('Less', [generalist, graph.scalar(negligible)]),
      graph.mul(generalist, graph.scalar(0)),
      generalist,
    ]);
    const nothing = graph.mul(graph.slice(counted, 1, 0, 1), graph.scalar(0));
    const flat = graph.reshape(graph.slice(classIds, 0, 0, count), [count * largest]);
    const gathered = graph.gather(graph.concat([counted, nothing], 1), flat, 1);
    const masses = graph.reshape(graph.sum(graph.reshape(gathered, [-1, count, largest]), 2), [-1, count]);
    const [values, places] = graph.nodes('TopK', [masses, graph.integers([slots], [1])], 2, { axis: 1 });
    const isCalled = graph.node('Less', [graph.scalar(routing.mass), graph.add(values, graph.scalar(1e-9))]);
    ids = ascending(graph, graph.node('Where', [isCalled, places, none]), slots);
  }
  const ofSlots = (table: string, width: number) =>
    graph.reshape(graph.gather(table, ids, 0), [-1, slots, width]);
  return {
    slots,
    ids,
    largest,
    areDisjoint,
    classIds: ofSlots(classIds, largest),
    weight: ofSlots(weight, 1),
    share: ofSlots(share, 1),
    lift: ofSlots(lift, 1),
    inverseTemperature: ofSlots(inverseTemperature, 1),
  };
}

function ascending(graph: GraphWriter, ids: string, count: number): string {
  return graph.nodes('TopK', [ids, graph.integers([count], [1])], 2, { axis: 1, largest: 0 })[0];
}

/** Replaces what repeats in ascending ids, and moves it to the end. */
function withoutRepetition(graph: GraphWriter, ids: string, count: number, none: string): string {
  if (count === 1) return ids;
  const repeats = graph.node('Equal', [graph.slice(ids, 1, 1, count), graph.slice(ids, 1, 0, count - 1)]);
  const rest = graph.node('Where', [repeats, none, graph.slice(ids, 1, 1, count)]);
  return ascending(graph, graph.concat([graph.slice(ids, 1, 0, 1), rest], 1), count);
}

/**
 * The logits of the active specialists, the dustbin's with its correction.
 *
 * @returns (batch, slots, largest + 1), the dustbin last
 */
function writeSpecialists(
  graph: GraphWriter,
  features: string,
  { specialists, width }: ExportedFusion,
  { ids, slots }: Active,
  { largest }: Tables,
): string {
  const depth = specialists[0].layers.length;
  let input = graph.reshape(features, [-1, 1, 1, width]);
  let inputs = width;
  for (let layer = 0; layer < depth; layer++) {
    const isHead = layer === depth - 1;
    const outputs = isHead
      ? largest + 1
      : Math.max(...specialists.map(({ layers }) => layers[layer].bias.length));
    const { weights, bias } = stacked(specialists, layer, { inputs, outputs, isHead });
    const count = specialists.length + 1;
    const product = graph.node('MatMul', [
      input,
      graph.gather(graph.floats(weights, [count, inputs, outputs]), ids, 0), // (batch, slots, inputs, outputs)
    ]);
    const biases = graph.gather(graph.floats(bias, [count, 1, outputs]), ids, 0);
    const sum = graph.add(product, biases); // (batch, slots, 1, outputs)
    input = isHead ? sum : graph.node('Relu', [sum]);
    inputs = outputs;
  }
  return graph.reshape(input, [-1, slots, largest + 1]);
}

/** One layer of all specialists, filled up to the widest; a row after the last stands for none. */
function stacked(
  specialists: readonly ExportedSpecialist[],
  layer: number,
  {
    inputs,
    outputs,
    isHead,
  }: { readonly inputs: number; readonly outputs: number; readonly isHead: boolean },
): { readonly weights: Float32Array; readonly bias: Float32Array } {
  const count = specialists.length + 1;
  const weights = new Float32Array(count * inputs * outputs);
  const bias = new Float32Array(count * outputs);
  for (const [m, { layers, correction }] of specialists.entries()) {
    const own = layers[layer];
    const width = own.bias.length;
    const rows = own.weights.length / width;
    // The dustbin stands last, behind what fills the subset up.
    const place = (output: number) => (isHead && output === width - 1 ? outputs - 1 : output);
    if (isHead) bias.fill(never, m * outputs, (m + 1) * outputs);
    for (let output = 0; output < width; output++) {
      const to = place(output);
      bias[m * outputs + to] = own.bias[output] + (isHead && output === width - 1 ? correction : 0);
      for (let row = 0; row < rows; row++)
        weights[(m * inputs + row) * outputs + to] = own.weights[row * width + output];
    }
  }
  return { weights, bias };
}

type Queried = Active & { readonly logits: string };

/** @param q (batch, classes + 1), the generalist's at its temperature */
function fuse(
  graph: GraphWriter,
  q: string,
  active: Queried,
  { rule, dustbinTrust, specialists }: ExportedFusion,
): string {
  if (rule === 'share-inside' || rule === 'combine') {
    const trust = rule === 'combine' ? dustbinTrust : 0;
    const isShifted = rule === 'share-inside' && specialists.some(({ massShift = 0 }) => massShift !== 0);
    const mean = rule === 'combine' ? geometric : arithmetic;
    // Subsets that share no class are fused at once, unless a dustbin changes the mass of what lies outside.
    if (active.areDisjoint && trust === 0) return inside(graph, q, active, { mean, trust, isShifted });
    let fused = q;
    for (let slot = 0; slot < active.slots; slot++)
      fused = inside(graph, fused, oneOf(graph, active, slot), { mean, trust, isShifted });
    return fused;
  }
  if (rule === 'paper' && active.areDisjoint) return minimiseDivergences(graph, q, active);
  throw new KdSpecError(
    'option-invalid',
    rule === 'paper'
      ? 'the rule "paper" is written as a graph for subsets that share no class: cluster with --subsets partition, or ' +
          'calibrate with --rule combine or --rule share-inside'
      : `the rule "${rule}" cannot be written as a graph: calibrate with --rule combine or --rule share-inside`,
  );
}

/** Bisections before Newton's steps, and those: together they reach rounding from anywhere. */
const bisections = 10;
const newtonSteps = 6;

/**
 * The rule `paper` for subsets that share no class.
 *
 * With `a_i` the known masses, `A_m` their sum on a subset, `D_m` the weighted dustbin and `s = W - sum of all r_m`,
 * the optimum is `q_i = a_i / (s + r_m)` in subset m and `a_i / s` outside, where `r_m = D_m / (1 - Q_m)` solves
 * `r^2 + r (s - A_m - D_m) - D_m s = 0`. What is left is one equation in s, `s + sum r_m(s) = W`, whose left side
 * rises; it is solved in double precision.
 *
 * @see docs/method.md, where the fixed point is derived
 */
function minimiseDivergences(graph: GraphWriter, q: string, active: Queried): string {
  const { slots, largest, classIds, weight, inverseTemperature } = active;
  const places = graph.reshape(classIds, [-1, slots * largest]);
  const wide = (x: string) => graph.castTo(x, 'float64');
  const double = (value: number) => graph.doubles([value], []);
  const distribution = wide(graph.softmax(graph.mul(active.logits, inverseTemperature), 3));
  const weights = wide(weight); // (batch, slots, 1)
  const masses = wide(
    graph.reshape(graph.node('GatherElements', [q, places], { axis: 1 }), [-1, slots, largest]),
  );
  const known = graph.add(masses, graph.mul(graph.slice(distribution, 2, 0, largest), weights)); // a
  const dustbin = graph.mul(graph.slice(distribution, 2, largest, largest + 1), weights); // D
  const sums = graph.add(graph.sum(known, 2), dustbin); // A + D
  const total = graph.add(graph.sum(weights, 1), double(1)); // (batch, 1, 1), W
  // The stable form of the root: no difference of near numbers on either side.
  const root = (s: string) => {
    const b = graph.sub(s, sums);
    const square = graph.node('Sqrt', [
      graph.add(graph.mul(b, b), graph.mul(graph.mul(dustbin, double(4)), s)),
    ]);
    const positive = graph.node('Greater', [b, double(0)]);
    const divisor = graph.node('Where', [positive, graph.add(b, square), double(1)]);
    const large = graph.div(graph.mul(graph.mul(dustbin, double(2)), s), divisor);
    const small = graph.div(graph.sub(square, b), double(2));
    return graph.node('Where', [positive, large, small]); // (batch, slots, 1), r
  };
  const excess = (s: string, r: string) => graph.sub(graph.add(s, graph.sum(r, 1)), total);
  let low = graph.mul(total, double(0));
  let high = total;
  for (let step = 0; step < bisections; step++) {
    const middle = graph.div(graph.add(low, high), double(2));
    const isAbove = graph.node('Greater', [excess(middle, root(middle)), double(0)]);
    high = graph.node('Where', [isAbove, middle, high]);
    low = graph.node('Where', [isAbove, low, middle]);
  }
  let s = graph.div(graph.add(low, high), double(2));
  for (let step = 0; step < newtonSteps; step++) {
    const r = root(s);
    const steepness = graph.add(graph.mul(r, double(2)), graph.sub(s, sums)); // of r's own equation, above 0
    const slope = graph.add(
      graph.sum(graph.div(graph.sub(dustbin, r), graph.node('Max', [steepness, double(1e-300)])), 1),
      double(1),
    );
    const next = graph.sub(s, graph.div(excess(s, r), graph.node('Max', [slope, double(1e-12)])));
    s = graph.node('Min', [graph.node('Max', [next, low]), high]);
  }
  const inSubsets = graph.div(known, graph.add(s, root(s)));
  const outside = graph.div(q, graph.castTo(graph.reshape(s, [-1, 1]), 'float32'));
  const values = graph.castTo(graph.reshape(inSubsets, [-1, slots * largest]), 'float32');
  return graph.node('ScatterElements', [outside, places, values], { axis: 1 });
}

/** One slot as if it were all. */
function oneOf(graph: GraphWriter, active: Queried, slot: number): Queried {
  const only = (x: string) => graph.slice(x, 1, slot, slot + 1);
  return {
    ...active,
    slots: 1,
    ids: only(active.ids),
    classIds: only(active.classIds),
    weight: only(active.weight),
    share: only(active.share),
    lift: only(active.lift),
    inverseTemperature: only(active.inverseTemperature),
    logits: only(active.logits),
  };
}

type Mean = (graph: GraphWriter, generalist: string, logits: string, active: Queried) => string;

/**
 * Shares the mass of each subset out again inside it: the rules `share-inside` and `combine`.
 *
 * @param options.isShifted whether masses are multiplied by `lift`; several slots then need disjoint subsets
 */
function inside(
  graph: GraphWriter,
  q: string,
  active: Queried,
  { mean, trust, isShifted }: { readonly mean: Mean; readonly trust: number; readonly isShifted: boolean },
): string {
  const { slots, largest, classIds, inverseTemperature } = active;
  const places = graph.reshape(classIds, [-1, slots * largest]);
  const masses = graph.reshape(graph.node('GatherElements', [q, places], { axis: 1 }), [-1, slots, largest]);
  const subsetMass = graph.sum(masses, 2); // (batch, slots, 1)
  const logits = graph.mul(active.logits, inverseTemperature);
  const distribution = mean(graph, masses, logits, active); // (batch, slots, largest), sums to 1
  const scatter = (into: string, values: string) =>
    graph.node('ScatterElements', [into, places, graph.reshape(values, [-1, slots * largest])], { axis: 1 });
  if (isShifted) {
    const shifted = scatter(q, graph.mul(distribution, graph.mul(subsetMass, active.lift)));
    return graph.div(shifted, graph.sum(shifted, 1));
  }
  if (trust === 0) return scatter(q, graph.mul(distribution, subsetMass));
  // One slot: the mass of the subset moves, and what lies outside is scaled.
  const outside = scatter(q, graph.mul(masses, graph.scalar(0)));
  const left = graph.sum(outside, 1); // (batch, 1)
  const held = graph.reshape(subsetMass, [-1, 1]);
  const dustbin = graph.softmax(logits, 3);
  const inDustbin = graph.reshape(graph.slice(dustbin, 2, largest, largest + 1), [-1, 1]);
  const named = graph.reshape(graph.sum(graph.slice(dustbin, 2, 0, largest), 2), [-1, 1]);
  const logOdds = (a: string, b: string) => graph.sub(logOf(graph, a), logOf(graph, b));
  const believed = graph.node('Sigmoid', [
    graph.add(
      graph.mul(logOdds(held, left), graph.scalar(1 - trust)),
      graph.mul(logOdds(named, inDustbin), graph.scalar(trust)),
    ),
  ]);
  const total = graph.add(held, left);
  const moves = graph.node('And', [
    graph.node('Greater', [left, graph.scalar(0)]),
    graph.node('Greater', [held, graph.scalar(0)]),
  ]);
  const target = graph.node('Where', [moves, graph.mul(believed, total), held]);
  const scale = graph.node('Where', [
    moves,
    graph.div(graph.sub(total, target), graph.node('Max', [left, graph.scalar(smallestSoftmax)])),
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
