import type { FoldedLayer } from '../../models/folded-layers.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { storeWeights } from '../../models/onnx/stored-weights.js';
import { type Active, never } from '../rules/graph-form.js';
import { leastOutside } from '../specialist/dustbin.js';
import type { ExportedFusion, ExportedSpecialist, Tables } from './query-graph.js';

// The networks of the specialists that an image queries, as a graph.

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

/**
 * Adds to the logit of every anchored dustbin what the generalist has for all classes outside the subset.
 *
 * @param logits (batch, slots, largest + 1), the dustbin last
 * @param generalist.logits (batch, classes)
 * @param generalist.probabilities (batch, classes), at temperature 1
 */
export function writeAnchors(
  graph: GraphWriter,
  logits: string,
  generalist: { readonly logits: string; readonly probabilities: string },
  { specialists }: ExportedFusion,
  { ids, classIds, slots, largest }: Active,
): string {
  if (!specialists.some(({ isAnchored }) => isAnchored)) return logits;
  const nothing = graph.mul(graph.slice(generalist.probabilities, 1, 0, 1), graph.scalar(0)); // fills subsets up
  const extended = graph.concat([generalist.probabilities, nothing], 1);
  const places = graph.reshape(classIds, [-1, slots * largest]);
  const masses = graph.node('GatherElements', [extended, places], { axis: 1 });
  const mass = graph.sum(graph.reshape(masses, [-1, slots, largest]), 2); // (batch, slots, 1)
  const outside = graph.node('Max', [graph.sub(graph.scalar(1), mass), graph.scalar(leastOutside)]);
  const sums = graph.reshape(graph.logSumExp(generalist.logits, 1), [-1, 1, 1]);
  const isAnchored = [...specialists.map((specialist) => Number(specialist.isAnchored ?? false)), 0];
  const flags = graph.gather(graph.floats(isAnchored, [isAnchored.length, 1]), ids, 0); // (batch, slots, 1)
  const anchor = graph.mul(graph.add(sums, graph.node('Log', [outside])), flags);
  const dustbin = graph.add(graph.slice(logits, 2, largest, largest + 1), anchor);
  return graph.concat([graph.slice(logits, 2, 0, largest), dustbin], 2);
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
  const queried = graph.node('Slice', [sorted, graph.integers([0], [1]), total]);
  const image = slots === 1 ? queried : graph.div(queried, graph.integers([slots], [1]));
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
