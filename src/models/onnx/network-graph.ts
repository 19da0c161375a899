import { type FoldedLayer, foldedLayer, type NetworkValues } from '../folded-layers.js';
import { type NetworkDefinition, pools } from '../network-definition.js';
import type { GraphWriter } from './graph-writer.js';
import { storeWeights, type WeightPrecision } from './stored-weights.js';

/**
 * Writes the convolutions of a network into a graph.
 *
 * @param images (batch, channels, height, width), in [0, 1]
 * @returns (batch, features), in the order in which the dense layers take them
 */
export function writeConvolutions(
  graph: GraphWriter,
  images: string,
  definition: NetworkDefinition,
  values: NetworkValues,
  precision: WeightPrecision = 'fp32',
): string {
  const { input, kernel, convolutions } = definition;
  let { height, width } = input;
  let channels: number = input.channels;
  let features = images;
  for (const [index, filters] of convolutions.entries()) {
    const { weights, bias } = foldedLayer(values, `convolutions.${index}`);
    const turned = channelsFirst(weights, kernel, channels, filters);
    const shape = [filters, channels, kernel, kernel];
    const stored = storeWeights(graph, turned, shape, precision, { outputs: 0 }).whole();
    const convolved = graph.node('Conv', [features, stored, graph.floats(bias, [filters])], {
      kernel_shape: [kernel, kernel],
      pads: [0, 0, 0, 0].map(() => (kernel - 1) / 2), // kernels are odd, so that every side has as much
    });
    features = graph.node('Relu', [convolved]);
    if (pools(height, width)) {
      features = graph.node('MaxPool', [features], { kernel_shape: [2, 2], strides: [2, 2] });
      height = Math.floor(height / 2);
      width = Math.floor(width / 2);
    }
    channels = filters;
  }
  const last = graph.node('Transpose', [features], { perm: [0, 2, 3, 1] }); // as checkpoints have it: channels last
  return graph.reshape(last, [-1, height * width * channels]);
}

/** (kernel, kernel, inputs, outputs) to (outputs, inputs, kernel, kernel). */
function channelsFirst(weights: Float32Array, kernel: number, inputs: number, outputs: number): Float32Array {
  const out = new Float32Array(weights.length);
  const area = kernel * kernel;
  for (let at = 0; at < weights.length; at++) {
    const output = at % outputs;
    const input = Math.floor(at / outputs) % inputs;
    const place = Math.floor(at / (outputs * inputs));
    out[(output * inputs + input) * area + place] = weights[at];
  }
  return out;
}

/** Writes dense layers with ReLU between them: (batch, inputs) to (batch, outputs of the last). */
export function writeDense(
  graph: GraphWriter,
  features: string,
  layers: readonly FoldedLayer[],
  precision: WeightPrecision = 'fp32',
): string {
  let x = features;
  for (const [index, { weights, bias }] of layers.entries()) {
    const shape = [weights.length / bias.length, bias.length];
    const product = graph.node('MatMul', [
      x,
      storeWeights(graph, weights, shape, precision, { outputs: 1 }).whole(),
    ]);
    x = graph.add(product, graph.floats(bias, [bias.length]));
    if (index < layers.length - 1) x = graph.node('Relu', [x]);
  }
  return x;
}
