import * as tf from '@tensorflow/tfjs';
import { batchNormalise, normalise } from '../compute/operations/batch-normalise.js';
import { conv2d } from '../compute/operations/conv2d.js';
import { dense } from '../compute/operations/dense.js';
import { dropout } from '../compute/operations/dropout.js';
import { maxPool2d } from '../compute/operations/max-pool2d.js';
import { assert } from '../core/errors.js';
import type { Random } from '../core/random.js';
import type { ImageShape } from '../data/source.js';
import type { HostTensor } from './safetensors.js';

/**
 * A classifier of images as a small plain definition.
 *
 * Each entry of `convolutions` is a block: convolution, normalisation, ReLU, and 2 × 2 max pooling while the
 * image is at least 4 pixels high and wide. Each entry of `dense` is a layer: weights, ReLU, dropout. The head is
 * one more dense layer with an output a class. With no convolutions it is a multi-layer perceptron.
 */
export interface NetworkDefinition {
  readonly input: ImageShape;
  /** Filters of each convolutional block. */
  readonly convolutions: readonly number[];
  /** Height and width of every filter, odd. */
  readonly kernel: number;
  /** Units of each dense layer. */
  readonly dense: readonly number[];
  readonly normalisation: 'batch' | 'none';
  /** Probability with which a dense layer's output is dropped in training, in [0, 1). */
  readonly dropout: number;
  /** Outputs of the head. */
  readonly outputs: number;
}

/** The parts of a network, in the order in which an image passes them. */
export const networkParts = ['convolutions', 'dense', 'head'] as const;
export type NetworkPart = (typeof networkParts)[number];

/** What a tensor of a network is for: training updates all but statistics and decays only weights. */
export type TensorRole = 'weights' | 'bias' | 'statistic';

export interface TensorSpecification {
  readonly name: string;
  readonly shape: readonly number[];
  readonly part: NetworkPart;
  readonly role: TensorRole;
}

/** A network's definition with its values; it owns the variables until `dispose`. */
export class Network {
  readonly definition: NetworkDefinition;
  readonly variables: ReadonlyMap<string, tf.Variable>;

  constructor(definition: NetworkDefinition, variables: ReadonlyMap<string, tf.Variable>) {
    this.definition = definition;
    this.variables = variables;
  }

  /** The variable of that name; its rank follows from the name. */
  variable<Rank extends tf.Rank>(name: string): tf.Variable<Rank> {
    const variable = this.variables.get(name);
    assert(variable !== undefined, `the network has no tensor "${name}"`);
    return variable as tf.Variable<Rank>;
  }

  /** Replaces the values of tensors by name. */
  assign(values: ReadonlyMap<string, HostTensor>): void {
    for (const [name, { shape, values: data }] of values) {
      tf.tidy(() => this.variable(name).assign(tf.tensor(data, [...shape], 'float32')));
    }
  }

  dispose(): void {
    for (const variable of this.variables.values()) variable.dispose();
  }
}

const runningShare = 0.9; // share of a running statistic that a training step keeps

/** Every tensor of a network, in the order of its checkpoint. */
export function networkTensors(definition: NetworkDefinition): readonly TensorSpecification[] {
  const tensors: TensorSpecification[] = [];
  const { kernel, normalisation } = definition;
  let channels: number = definition.input.channels;
  definition.convolutions.forEach((filters, index) => {
    const name = `convolutions.${index}`;
    const add = (suffix: string, shape: readonly number[], role: TensorRole) =>
      tensors.push({ name: `${name}.${suffix}`, shape, part: 'convolutions', role });
    add('filter', [kernel, kernel, channels, filters], 'weights');
    if (normalisation === 'batch') {
      add('scale', [filters], 'bias');
      add('bias', [filters], 'bias');
      add('mean', [filters], 'statistic');
      add('variance', [filters], 'statistic');
    } else {
      add('bias', [filters], 'bias');
    }
    channels = filters;
  });
  let width = convolutionalFeatures(definition);
  definition.dense.forEach((units, index) => {
    tensors.push({ name: `dense.${index}.weights`, shape: [width, units], part: 'dense', role: 'weights' });
    tensors.push({ name: `dense.${index}.bias`, shape: [units], part: 'dense', role: 'bias' });
    width = units;
  });
  tensors.push({ name: 'head.weights', shape: [width, definition.outputs], part: 'head', role: 'weights' });
  tensors.push({ name: 'head.bias', shape: [definition.outputs], part: 'head', role: 'bias' });
  return tensors;
}

/** Width of what the convolutions hand to the dense layers, flattened. */
export function convolutionalFeatures(definition: NetworkDefinition): number {
  let { height, width } = definition.input;
  for (const _ of definition.convolutions) {
    if (pools(height, width)) {
      height = Math.floor(height / 2);
      width = Math.floor(width / 2);
    }
  }
  return height * width * (definition.convolutions.at(-1) ?? definition.input.channels);
}

/** Width of what the dense layers hand to the head. */
export function hiddenFeatures(definition: NetworkDefinition): number {
  return definition.dense.at(-1) ?? convolutionalFeatures(definition);
}

/** Multiplications and additions of one forward pass for one image. */
export function forwardFlops(definition: NetworkDefinition): number {
  let { height, width } = definition.input;
  let channels: number = definition.input.channels;
  let flops = 0;
  for (const filters of definition.convolutions) {
    flops += 2 * height * width * definition.kernel ** 2 * channels * filters;
    if (pools(height, width)) {
      height = Math.floor(height / 2);
      width = Math.floor(width / 2);
    }
    channels = filters;
  }
  let features = convolutionalFeatures(definition);
  for (const units of [...definition.dense, definition.outputs]) {
    flops += 2 * features * units;
    features = units;
  }
  return flops;
}

/** A network with fresh weights: He-normal before a ReLU, and a head that starts near the uniform distribution. */
export function createNetwork(definition: NetworkDefinition, random: Random): Network {
  const values = new Map<string, HostTensor>();
  for (const { name, shape, part, role } of networkTensors(definition)) {
    const tensor = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    if (role === 'weights') {
      const fanIn = tensor.length / (shape.at(-1) ?? 1);
      const deviation = Math.sqrt((part === 'head' ? 1 : 2) / fanIn);
      for (let index = 0; index < tensor.length; index++) tensor[index] = deviation * random.normal();
    } else if (name.endsWith('.scale') || name.endsWith('.variance')) {
      tensor.fill(1);
    }
    values.set(name, { shape, values: tensor });
  }
  return networkFromTensors(definition, values);
}

/** A network with given values. `values` holds exactly the tensors of `networkTensors(definition)`. */
export function networkFromTensors(
  definition: NetworkDefinition,
  values: ReadonlyMap<string, HostTensor>,
): Network {
  const variables = new Map<string, tf.Variable>();
  for (const { name, shape } of networkTensors(definition)) {
    const value = values.get(name);
    assert(
      value?.shape.join() === shape.join(),
      `tensor "${name}" has shape [${value?.shape}], not [${shape}]`,
    );
    const initial = tf.tensor(value.values, [...shape], 'float32');
    variables.set(name, tf.variable(initial)); // names stay ours: tf.variable would want them unique
    initial.dispose();
  }
  return new Network(definition, variables);
}

/** The present values of a network, copied to JavaScript. */
export async function networkValues(network: Network): Promise<Map<string, HostTensor>> {
  const values = new Map<string, HostTensor>();
  for (const { name, shape } of networkTensors(network.definition)) {
    values.set(name, { shape, values: (await network.variable(name).data<'float32'>()).slice() });
  }
  return values;
}

/**
 * Runs consecutive parts of a network on a batch.
 *
 * @param input images (batch, height, width, channels) in [0, 1] when `from` is `convolutions`; otherwise the
 * output of the part before, (batch, features)
 * @param from the first part to run
 * @param to the last part to run
 * @param training when given, batch statistics and dropout are used and running statistics updated; its
 * number seeds the dropout of this step
 * @returns (batch, features), or logits (batch, outputs) when `to` is `head`
 */
export function runNetwork(
  network: Network,
  input: tf.Tensor,
  {
    from = 'convolutions',
    to = 'head',
    training,
  }: { from?: NetworkPart; to?: NetworkPart; training?: { readonly dropoutSeed: number } | undefined } = {},
): tf.Tensor2D {
  const parts = networkParts.slice(networkParts.indexOf(from), networkParts.indexOf(to) + 1);
  let features = input;
  if (parts.includes('convolutions')) {
    features = runConvolutions(network, features as tf.Tensor4D, training !== undefined);
  }
  if (parts.includes('dense')) features = runDense(network, features as tf.Tensor2D, training);
  if (parts.includes('head')) {
    features = dense(
      features as tf.Tensor2D,
      network.variable<tf.Rank.R2>('head.weights'),
      network.variable<tf.Rank.R1>('head.bias'),
    );
  }
  return features as tf.Tensor2D;
}

function runConvolutions(network: Network, images: tf.Tensor4D, isTraining: boolean): tf.Tensor2D {
  const { convolutions, normalisation } = network.definition;
  let features = images; // (batch, height, width, channels)
  convolutions.forEach((_, index) => {
    const block = `convolutions.${index}`;
    const filter = network.variable<tf.Rank.R4>(`${block}.filter`);
    features = conv2d(features, filter, { padding: 'same', inputGradient: index > 0 });
    features =
      normalisation === 'batch'
        ? normaliseBlock(network, block, features, isTraining)
        : tf.add(features, network.variable<tf.Rank.R1>(`${block}.bias`));
    features = tf.relu(features);
    if (pools(features.shape[1], features.shape[2])) features = maxPool2d(features, { size: 2, strides: 2 });
  });
  return tf.reshape(features, [features.shape[0], convolutionalFeatures(network.definition)]);
}

function normaliseBlock(
  network: Network,
  block: string,
  features: tf.Tensor4D,
  isTraining: boolean,
): tf.Tensor4D {
  const vector = (name: string) => network.variable<tf.Rank.R1>(`${block}.${name}`); // (channels)
  const [scale, bias, runningMean, runningVariance] = ['scale', 'bias', 'mean', 'variance'].map(vector);
  if (!isTraining) return normalise(features, runningMean, runningVariance, scale, bias) as tf.Tensor4D;

  const { output, mean, variance } = batchNormalise(features, scale, bias);
  const follow = (running: tf.Variable<tf.Rank.R1>, ofBatch: tf.Tensor1D) =>
    running.assign(tf.add(tf.mul(running, runningShare), tf.mul(ofBatch, 1 - runningShare)));
  follow(runningMean, mean);
  follow(runningVariance, variance);
  return output as tf.Tensor4D;
}

function runDense(
  network: Network,
  input: tf.Tensor2D,
  training: { readonly dropoutSeed: number } | undefined,
): tf.Tensor2D {
  let features = input;
  network.definition.dense.forEach((_, index) => {
    const weights = network.variable<tf.Rank.R2>(`dense.${index}.weights`);
    const bias = network.variable<tf.Rank.R1>(`dense.${index}.bias`);
    features = tf.relu(dense(features, weights, bias));
    if (training && network.definition.dropout > 0) {
      features = dropout(features, network.definition.dropout, training.dropoutSeed + index);
    }
  });
  return features;
}

function pools(height: number, width: number): boolean {
  return Math.min(height, width) >= 4;
}
