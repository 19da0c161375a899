import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '../compute/operations.js';
import type { Network } from './network.js';
import { convolutionalFeatures, type NetworkPart, networkParts, pools } from './network-definition.js';

const momentum = 0.9; // share of a running statistic that a training step leaves

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
  input: Tensor,
  {
    from = 'convolutions',
    to = 'head',
    training,
  }: { from?: NetworkPart; to?: NetworkPart; training?: { readonly dropoutSeed: number } | undefined } = {},
): Tensor2D {
  const parts = networkParts.slice(networkParts.indexOf(from), networkParts.indexOf(to) + 1);
  let features = input;
  if (parts.includes('convolutions')) {
    features = runConvolutions(network, features as Tensor4D, training !== undefined);
  }
  if (parts.includes('dense')) features = runDense(network, features as Tensor2D, from, training);
  if (parts.includes('head')) {
    features = network.operations.dense(
      features as Tensor2D,
      network.variable<Tensor2D>('head.weights'),
      network.variable<Tensor1D>('head.bias'),
      { inputGradient: from !== 'head' },
    );
  }
  return features as Tensor2D;
}

function runConvolutions(network: Network, images: Tensor4D, isTraining: boolean): Tensor2D {
  const { operations } = network;
  let features = images; // (batch, height, width, channels)
  network.definition.convolutions.forEach((_, index) => {
    const layer = `convolutions.${index}`;
    const filter = network.variable<Tensor4D>(`${layer}.weights`);
    const convolved = operations.conv2d(features, filter, { padding: 'same', inputGradient: index > 0 });
    features = activateLayer(network, layer, convolved, isTraining);
    if (pools(features.shape[1], features.shape[2]))
      features = operations.maxPool2d(features, { size: 2, strides: 2 });
  });
  return operations.reshape(features, [features.shape[0], convolutionalFeatures(network.definition)]);
}

function runDense(
  network: Network,
  input: Tensor2D,
  from: NetworkPart,
  training: { readonly dropoutSeed: number } | undefined,
): Tensor2D {
  const { operations } = network;
  const { dense: widths, dropout: rate } = network.definition;
  let features = input; // (batch, features)
  widths.forEach((_, index) => {
    const layer = `dense.${index}`;
    const noBias = undefined; // the normalisation adds one
    const weights = network.variable<Tensor2D>(`${layer}.weights`);
    const product = operations.dense(features, weights, noBias, {
      inputGradient: index > 0 || from !== 'dense',
    });
    features = activateLayer(network, layer, product, training !== undefined);
    if (training && rate > 0) features = operations.dropout(features, rate, training.dropoutSeed + index);
  });
  return features;
}

/** Batch normalisation or a bias alone, as the network's definition says, and ReLU; (..., channels) as it came. */
function activateLayer<T extends Tensor>(
  network: Network,
  layer: string,
  features: T,
  isTraining: boolean,
): T {
  const { operations, definition } = network;
  const vector = (name: string) => network.variable<Tensor1D>(`${layer}.${name}`); // (channels)
  const bias = vector('bias');
  if (definition.normalisation === 'none') return operations.relu(operations.add(features, bias));
  const tensors = { scale: vector('scale'), bias, mean: vector('mean'), variance: vector('variance') };
  const activation = 'relu';
  if (!isTraining) return operations.normalise(features, tensors, { activation });
  return operations.batchNormalise(features, tensors, { activation, momentum });
}
