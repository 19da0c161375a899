import type { FoldedLayer } from '../../models/folded-layers.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { storeWeights, type WeightPrecision } from '../../models/onnx/stored-weights.js';

/** A specialist as a graph needs it. */
export interface ExportedSpecialist {
  /** As in the workspace. */
  readonly id: number;
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
  /** How the weights of the specialists are stored. */
  readonly precision: WeightPrecision;
  /** Those that take part. */
  readonly specialists: readonly ExportedSpecialist[];
}

/** A logit that leaves nothing to a class that only fills a subset up. */
export const never = -1e9;

/** A class below this does not count when masses are compared with a threshold, as in routing. */
const negligible = 1e-6;

/** The specialists that are queried for each image. */
export interface Active {
  /** Most specialists of an image. */
  readonly slots: number;
  /** (batch, slots), positions, ascending; {@link none} stands for none. */
  readonly ids: string;
  /** The number of specialists. */
  readonly none: number;
  /** (batch, slots, largest) */
  readonly classIds: string;
  /** (batch, slots, 1) each; no specialist has a weight of 0. */
  readonly weight: string;
  readonly share: string;
  readonly lift: string;
  readonly inverseTemperature: string;
  readonly largest: number;
  readonly areDisjoint: boolean;
  /** As {@link Tables} has them. */
  readonly isMember: string;
  readonly mostPerClass: number;
  readonly covering: string;
}

/** What they predict, too. */
export interface Queried extends Active {
  /** (batch, slots, largest + 1), the dustbin last, its correction added. */
  readonly logits: string;
}

/** What is stored of all specialists, by position; a row after the last stands for none. */
export interface Tables {
  /** Classes of the largest subset. */
  readonly largest: number;
  /** (specialists + 1, largest), class indices; the number of classes fills up. */
  readonly classIds: string;
  /** (specialists + 1, classes + 1), booleans; computed of `classIds`, and only once where a runtime folds constants. */
  readonly isMember: string;
  /** (specialists + 1, 1) each: the weight, its share beside the generalist's weight of 1. */
  readonly weight: string;
  readonly share: string;
  /** What the mass of the subset is multiplied by before all is scaled to 1. */
  readonly lift: string;
  readonly inverseTemperature: string;
  readonly areDisjoint: boolean;
  /** The most subsets that share a class. */
  readonly mostPerClass: number;
  /** (classes + 1, mostPerClass), the specialists whose subsets hold a class; none holds what fills up. */
  readonly covering: string;
}

export function writeTables(graph: GraphWriter, { classes, specialists }: ExportedFusion): Tables {
  const count = specialists.length;
  const largest = Math.max(...specialists.map((specialist) => specialist.classes.length));
  const ids = new Int32Array((count + 1) * largest).fill(classes);
  const timesCovered = new Int32Array(classes);
  for (const [m, specialist] of specialists.entries()) {
    ids.set(specialist.classes, m * largest);
    for (const c of specialist.classes) timesCovered[c]++;
  }
  const column = (value: (specialist: ExportedSpecialist) => number, none: number) =>
    graph.floats([...specialists.map(value), none], [count + 1, 1]);
  const mostPerClass = timesCovered.reduce((most, times) => Math.max(most, times), 0);
  const covering = new Int32Array((classes + 1) * mostPerClass).fill(count);
  const filled = new Int32Array(classes);
  for (const [m, specialist] of specialists.entries())
    for (const c of specialist.classes) covering[c * mostPerClass + filled[c]++] = m;
  const classIds = graph.integers(ids, [count + 1, largest]);
  const flags = (value: number, shape: readonly number[]) =>
    graph.node('Expand', [
      graph.castTo(graph.bytes(Int8Array.of(value), []), 'bool'),
      graph.integers(shape, [shape.length]),
    ]);
  return {
    largest,
    classIds,
    isMember: graph.node(
      'ScatterElements',
      [flags(0, [count + 1, classes + 1]), classIds, flags(1, [count + 1, largest])],
      { axis: 1 },
    ),
    weight: column(({ weight }) => weight, 0),
    share: column(({ weight }) => weight / (1 + weight), 0),
    lift: column(({ massShift = 0 }) => Math.exp(massShift), 1),
    inverseTemperature: column(({ temperature }) => 1 / temperature, 1),
    areDisjoint: mostPerClass <= 1,
    mostPerClass,
    covering: graph.integers(covering, [classes + 1, mostPerClass]),
  };
}

/** Step 1 and 2 of section 5.4: which specialists are queried. */
export function writeRouting(
  graph: GraphWriter,
  generalist: string,
  { classes, routing, specialists }: ExportedFusion,
  {
    largest,
    classIds,
    isMember,
    weight,
    share,
    lift,
    inverseTemperature,
    areDisjoint,
    mostPerClass,
    covering,
  }: Tables,
): Active {
  const count = specialists.length;
  const none = graph.integers([count], []);
  let ids: string;
  let slots: number;
  if ('top' in routing) {
    const top = Math.min(routing.top, classes);
    slots = Math.min(top * mostPerClass, count);
    const [, first] = graph.nodes('TopK', [generalist, graph.integers([top], [1])], 2, { axis: 1 });
    const called = graph.gather(covering, first, 0);
    ids = graph.reshape(called, [-1, top * mostPerClass]); // those of one class are ascending
    if (top > 1)
      ids = withoutRepetition(graph, ascending(graph, ids, top * mostPerClass), top * mostPerClass, none);
    if (slots < top * mostPerClass) ids = graph.slice(ids, 1, 0, slots);
  } else {
    slots = Math.min(count, Math.max(1, Math.floor((mostPerClass + 1e-9) / routing.mass)));
    const masses = massesOn(graph, generalist, specialists, largest);
    const [values, places] = graph.nodes('TopK', [masses, graph.integers([slots], [1])], 2, { axis: 1 });
    const isCalled = graph.node('Less', [graph.scalar(routing.mass), graph.add(values, graph.scalar(1e-9))]);
    ids = ascending(graph, graph.node('Where', [isCalled, places, none]), slots);
  }
  const ofSlots = (table: string) => graph.gather(table, ids, 0);
  return {
    slots,
    ids,
    none: count,
    largest,
    areDisjoint,
    isMember,
    mostPerClass,
    covering,
    classIds: ofSlots(classIds),
    weight: ofSlots(weight),
    share: ofSlots(share),
    lift: ofSlots(lift),
    inverseTemperature: ofSlots(inverseTemperature),
  };
}

/** (batch, specialists), the mass on each subset, without what is negligible. */
function massesOn(
  graph: GraphWriter,
  generalist: string,
  specialists: ExportedFusion['specialists'],
  largest: number,
): string {
  const count = specialists.length;
  const flat = new Int32Array(count * largest); // what fills up is any class, and does not count
  const fillsUp = new Float32Array(count * largest).fill(Number.POSITIVE_INFINITY);
  for (const [m, { classes }] of specialists.entries()) {
    flat.set(classes, m * largest);
    fillsUp.fill(negligible, m * largest, m * largest + classes.length);
  }
  const isFull = specialists.every(({ classes }) => classes.length === largest);
  const least = isFull ? graph.scalar(negligible) : graph.floats(fillsUp, [count * largest]);
  const gathered = graph.gather(generalist, graph.integers(flat, [count * largest]), 1);
  const counted = graph.node('Where', [graph.node('Less', [gathered, least]), graph.scalar(0), gathered]);
  return graph.reshape(graph.sum(graph.reshape(counted, [-1, count, largest]), 2), [-1, count]);
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
export function writeSpecialists(
  graph: GraphWriter,
  features: string,
  ensemble: ExportedFusion,
  active: Active,
  tables: Tables,
): string {
  return isGroupingFaster(graph, ensemble, active)
    ? writeGrouped(graph, features, ensemble, active, tables)
    : writeGathered(graph, features, ensemble, active, tables);
}

// What a small node costs one thread, and weights that are copied for an image and multiplied with it, as measured in
// ONNX Runtime on one image.
const microsecondsPerNode = 3;
const microsecondsPerGatheredWeight = 0.002;
const nodesToGroup = 15;

/** Weights gathered for each image cost by their number, products of each specialist's images by their nodes. */
function isGroupingFaster(graph: GraphWriter, { specialists }: ExportedFusion, { slots }: Active): boolean {
  if (graph.opset < 13) return false; // Split takes no computed sizes
  const nodes = nodesToGroup + specialists.length * (2 * specialists[0].layers.length - 1);
  const weights = specialists[0].layers.reduce((sum, layer) => sum + layer.weights.length, 0);
  return nodes * microsecondsPerNode < slots * weights * microsecondsPerGatheredWeight;
}

/** Each specialist's layers, for the images that query it: (image, slot) pairs are sorted by specialist and split. */
function writeGrouped(
  graph: GraphWriter,
  features: string,
  { specialists, precision }: ExportedFusion,
  { ids, slots, none }: Active,
  { largest }: Tables,
): string {
  const pairs = graph.reshape(ids, [-1]);
  const count = graph.node('Shape', [pairs]); // (1)
  const order = (x: string) => graph.nodes('TopK', [x, count], 2, { axis: 0, largest: 0 })[1];
  const sorted = order(pairs); // those without a specialist come last
  const positions = graph.integers([...specialists.keys()], [1, none]);
  const isOf = graph.castTo(graph.node('Equal', [graph.reshape(pairs, [-1, 1]), positions]), 'int64');
  const counts = graph.reshape(graph.sum(isOf, 0), [none]);
  const total = graph.sum(counts, 0); // (1)
  const called = graph.node('Slice', [sorted, graph.integers([0], [1]), total]);
  const image = slots === 1 ? called : graph.div(called, graph.integers([slots], [1]));
  const split = graph.nodes('Split', [graph.gather(features, image, 0), counts], none, { axis: 0 });
  const outputs = specialists.map((specialist, m) => {
    let x = split[m];
    for (const [index, layer] of specialist.layers.entries()) {
      const isHead = index === specialist.layers.length - 1;
      const { weights, bias } = isHead ? filledUp(specialist, largest) : layer;
      const shape = [weights.length / bias.length, bias.length];
      const stored = storeWeights(graph, weights, shape, precision, { outputs: 1 });
      const sum = graph.node('Gemm', [x, stored.whole(), graph.floats(bias, [bias.length])]);
      x = isHead ? sum : graph.node('Relu', [sum]);
    }
    return x;
  });
  const nothing = graph.floats(new Float32Array(largest + 1), [1, largest + 1]); // of no specialist
  const place = graph.node('Min', [order(sorted), total]);
  const logits = graph.gather(graph.concat([...outputs, nothing], 0), place, 0);
  return graph.reshape(logits, [-1, slots, largest + 1]);
}

/** Each specialist's layers, gathered by position for each image. */
function writeGathered(
  graph: GraphWriter,
  features: string,
  { specialists, width, precision }: ExportedFusion,
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
    const stored = storeWeights(graph, weights, [count, inputs, outputs], precision, {
      outputs: 2,
      perRow: true,
    });
    const product = graph.node('MatMul', [input, stored.rows(ids)]); // of (batch, slots, inputs, outputs)
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
): FoldedLayer {
  const count = specialists.length + 1;
  const weights = new Float32Array(count * inputs * outputs);
  const bias = new Float32Array(count * outputs);
  for (const [m, specialist] of specialists.entries()) {
    const own = isHead ? filledUp(specialist, outputs - 1) : specialist.layers[layer];
    const width = own.bias.length;
    bias.set(own.bias, m * outputs);
    for (let row = 0; row < own.weights.length / width; row++)
      weights.set(own.weights.subarray(row * width, (row + 1) * width), (m * inputs + row) * outputs);
  }
  return { weights, bias };
}

/** A head of `largest + 1` outputs: the dustbin, with its correction, stands last, behind what fills the subset up. */
function filledUp({ layers, correction }: ExportedSpecialist, largest: number): FoldedLayer {
  const own = layers[layers.length - 1];
  const dustbin = own.bias.length - 1;
  const rows = own.weights.length / own.bias.length;
  const outputs = largest + 1;
  const weights = new Float32Array(rows * outputs);
  const bias = new Float32Array(outputs).fill(never);
  bias.set(own.bias.subarray(0, dustbin));
  bias[largest] = own.bias[dustbin] + correction;
  for (let row = 0; row < rows; row++) {
    const values = own.weights.subarray(row * own.bias.length, (row + 1) * own.bias.length);
    weights.set(values.subarray(0, dustbin), row * outputs);
    weights[row * outputs + largest] = values[dustbin];
  }
  return { weights, bias };
}
