import { assert } from '../../core/errors.js';
import { type NetworkDefinition, pools } from '../network-definition.js';
import type { HostTensor } from '../safetensors.js';
import type { GraphWriter } from './graph-writer.js';
import { storeWeights, type WeightPrecision } from './stored-weights.js';

/** A layer on host arrays, its normalisation folded in: `y = weights' x + bias`. */
export interface FoldedLayer {
  /** (..., outputs), row-major. */
  readonly weights: Float32Array;
  /** (outputs) */
  readonly bias: Float32Array;
}

/** Tensors of a network by name, as its checkpoint has them. */
type NetworkValues = ReadonlyMap<string, HostTensor>;

/** Added to a variance before its square root is taken, as in training. */
const epsilon = 0.001;

/**
 * The dense layers of a network and, last, its head.
 *
 * @param values holds the tensors of `networkTensors(definition)`
 */
export function foldedDenseLayers(definition: NetworkDefinition, values: NetworkValues): FoldedLayer[] {
  const layers = definition.dense.map((_, index) => folded(values, `dense.${index}`));
  return [...layers, { weights: tensorOf(values, 'head.weights'), bias: tensorOf(values, 'head.bias') }];
}

/**
 * A layer with its normalisation: `(w x - mean) / sqrt(variance + epsilon) * scale + bias` is one more linear layer.
 */
function folded(values: NetworkValues, name: string): FoldedLayer {
  const weights = tensorOf(values, `${name}.weights`);
  const bias = tensorOf(values, `${name}.bias`);
  const scale = values.get(`${name}.scale`)?.values;
  if (scale === undefined) return { weights, bias };
  const mean = tensorOf(values, `${name}.mean`);
  const variance = tensorOf(values, `${name}.variance`);
  const outputs = bias.length;
  const factor = Float64Array.from(scale, (value, c) => value / Math.sqrt(variance[c] + epsilon));
  return {
    weights: weights.map((value, index) => value * factor[index % outputs]),
    bias: bias.map((value, c) => value - mean[c] * factor[c]),
  };
}

function tensorOf(values: NetworkValues, name: string): Float32Array {
  const tensor = values.get(name);
  assert(tensor?.values instanceof Float32Array, `the network has no tensor "${name}"`);
  return tensor.values;
}

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
    const { weights, bias } = folded(values, `convolutions.${index}`);
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
