import type { FoldedLayer } from '../../models/folded-layers.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import type { WeightPrecision } from '../../models/onnx/stored-weights.js';
import type { Active } from '../rules/graph-form.js';
import type { FusionRule, ParameterValues } from '../rules/rule.js';

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
  /** Of rules that have one, in nats; 0 where it is left out. */
  readonly massShift?: number;
  /** Added to the dustbin's logit. */
  readonly correction: number;
  /** Whether the generalist's logit for all that lies outside is added, too. */
  readonly isAnchored?: boolean;
}

/** An ensemble as a graph needs it. */
export interface ExportedFusion {
  readonly classes: number;
  /** Width of the features that specialists take. */
  readonly width: number;
  readonly generalistTemperature: number;
  /** See `underLabelNoise`. */
  readonly labelNoise: number;
  readonly routing: { readonly top: number } | { readonly mass: number };
  readonly rule: FusionRule;
  /** Of the rule, those that are per ensemble. */
  readonly parameters: ParameterValues;
  /** How the weights of the specialists are stored. */
  readonly precision: WeightPrecision;
  /** Those that take part. */
  readonly specialists: readonly ExportedSpecialist[];
}

/** A class below this does not count when masses are compared with a threshold, as in routing. */
const negligible = 1e-6;

/** What is stored of all specialists, by position; a row after the last stands for none. */
export interface Tables
  extends Pick<Active, 'largest' | 'areDisjoint' | 'isShifted' | 'isMember' | 'mostPerClass' | 'covering'> {
  /** (specialists + 1, largest), class indices; the number of classes fills up. */
  readonly classIds: string;
  /** (specialists + 1, 1) each, as `Active` has them for the queried ones. */
  readonly weight: string;
  readonly share: string;
  readonly lift: string;
  readonly inverseTemperature: string;
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
    isShifted: specialists.some(({ massShift = 0 }) => massShift !== 0),
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
    isShifted,
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
    const queried = graph.gather(covering, first, 0);
    ids = graph.reshape(queried, [-1, top * mostPerClass]); // those of one class are ascending
    if (top > 1)
      ids = withoutRepetition(graph, ascending(graph, ids, top * mostPerClass), top * mostPerClass, none);
    if (slots < top * mostPerClass) ids = graph.slice(ids, 1, 0, slots);
  } else {
    slots = Math.min(count, Math.max(1, Math.floor((mostPerClass + 1e-9) / routing.mass)));
    const masses = massesOn(graph, generalist, specialists, largest);
    const [values, places] = graph.nodes('TopK', [masses, graph.integers([slots], [1])], 2, { axis: 1 });
    const isQueried = graph.node('Less', [graph.scalar(routing.mass), graph.add(values, graph.scalar(1e-9))]);
    ids = ascending(graph, graph.node('Where', [isQueried, places, none]), slots);
  }
  const ofSlots = (table: string) => graph.gather(table, ids, 0);
  const sizes = specialists.map((specialist) => specialist.classes.length).sort((a, b) => b - a);
  return {
    slots,
    ids,
    none: count,
    largest,
    areDisjoint,
    leavesClasses: sizes.slice(0, slots).reduce((sum, size) => sum + size, 0) < classes,
    isShifted,
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
