import * as tf from '@tensorflow/tfjs';
import { batchNormalise, normalise } from '../compute/operations/batch-normalise.js';
import { conv2d } from '../compute/operations/conv2d.js';
import { dense } from '../compute/operations/dense.js';
import { dropout } from '../compute/operations/dropout.js';
import { maxPool2d } from '../compute/operations/max-pool2d.js';
import type { Network } from './network.js';
import { convolutionalFeatures, type NetworkPart, networkParts, pools } from './network-definition.js';

const runningShare = 0.9; // share of a running statistic that a training step keeps

/**
 * Runs consecutive parts of a network on a batch.
 *
 * @param input images (batch, height, width, channels) in [0, 1] when `from` is `convolutions`; otherwise the
 * output of the part before, (batch, features)
 * @param from the first part to run; no gradient flows from it into `input`
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
  if (parts.includes('dense')) features = runDense(network, features as tf.Tensor2D, from, training);
  if (parts.includes('head')) {
    features = dense(
      features as tf.Tensor2D,
      network.variable<tf.Rank.R2>('head.weights'),
      network.variable<tf.Rank.R1>('head.bias'),
      { inputGradient: from !== 'head' },
    );
  }
  return features as tf.Tensor2D;
}

function runConvolutions(network: Network, images: tf.Tensor4D, isTraining: boolean): tf.Tensor2D {
  let features = images; // (batch, height, width, channels)
  network.definition.convolutions.forEach((_, index) => {
    const layer = `convolutions.${index}`;
    const filter = network.variable<tf.Rank.R4>(`${layer}.weights`);
    const convolved = conv2d(features, filter, { padding: 'same', inputGradient: index > 0 });
    features = activateLayer(network, layer, convolved, isTraining);
    if (pools(features.shape[1], features.shape[2])) features = maxPool2d(features, { size: 2, strides: 2 });
  });
  return tf.reshape(features, [features.shape[0], convolutionalFeatures(network.definition)]);
}

function runDense(
  network: Network,
  input: tf.Tensor2D,
  from: NetworkPart,
  training: { readonly dropoutSeed: number } | undefined,
): tf.Tensor2D {
  const { dense: widths, dropout: rate } = network.definition;
  let features = input; // (batch, features)
  widths.forEach((_, index) => {
    const layer = `dense.${index}`;
    const noBias = undefined; // the normalisation adds one
    const weights = network.variable<tf.Rank.R2>(`${layer}.weights`);
    const product = dense(features, weights, noBias, { inputGradient: index > 0 || from !== 'dense' });
    features = activateLayer(network, layer, product, training !== undefined);
    if (training && rate > 0) features = dropout(features, rate, training.dropoutSeed + index);
  });
  return features;
}

/** Batch normalisation or a bias alone, as the network's definition says, and ReLU; (..., channels) as it came. */
function activateLayer<T extends tf.Tensor>(
  network: Network,
  layer: string,
  features: T,
  isTraining: boolean,
): T {
  const vector = (name: string) => network.variable<tf.Rank.R1>(`${layer}.${name}`); // (channels)
  if (network.definition.normalisation === 'none') return tf.relu<T>(tf.add<T>(features, vector('bias')));
  const [scale, bias, runningMean, runningVariance] = ['scale', 'bias', 'mean', 'variance'].map(vector);
  const activation = 'relu';
  if (!isTraining) return normalise(features, runningMean, runningVariance, scale, bias, { activation }) as T;

  const { output, mean, variance } = batchNormalise(features, scale, bias, { activation });
  const follow = (running: tf.Variable<tf.Rank.R1>, ofBatch: tf.Tensor1D) =>
    running.assign(tf.add(tf.mul(running, runningShare), tf.mul(ofBatch, 1 - runningShare)));
  follow(runningMean, mean);
  follow(runningVariance, variance);
  return output as T;
}
