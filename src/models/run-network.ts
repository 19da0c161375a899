import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '../compute/operations.js';
import type { Network } from './network.js';
import {
  convolutionalFeatures,
  hiddenFeatures,
  type NetworkPart,
  networkParts,
  pools,
} from './network-definition.js';

/** Images that go through a network at once: what a processor's cache does not hold is slower. */
export const chunkImages = 128;

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
    features = runHead(network, features as Tensor2D, { inputGradient: from !== 'head' });
  }
  return features as Tensor2D;
}

/**
 * Runs the head of a network.
 *
 * @param hidden (batch, features), the input of the head
 * @param options.temperature the logits are divided by it, with the input and the bias, which are smaller
 * @param options.inputGradient whether a gradient flows into `hidden`
 * @returns (batch, outputs)
 */
export function runHead(
  network: Network,
  hidden: Tensor2D,
  {
    temperature = 1,
    inputGradient = true,
  }: { readonly temperature?: number; readonly inputGradient?: boolean } = {},
): Tensor2D {
  const { operations, definition } = network;
  const input = temperature === 1 ? hidden : operations.div(hidden, temperature);
  if (definition.copiesLogits)
    return operations.columnRange(input, hiddenFeatures(definition) - definition.outputs);
  const bias = network.variable<Tensor1D>('head.bias');
  return operations.dense(
    input,
    network.variable<Tensor2D>('head.weights'),
    temperature === 1 ? bias : operations.div(bias, temperature),
    { inputGradient },
  );
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

/**
 * Runs layers of a network over a batch on the host, some images at a time.
 *
 * @param inputs (count, ...shape)
 * @param out (count, outputs), gets what `run` returns
 * @param options.shape of the input of one image
 * @param options.most images at a time
 */
export async function runInChunks(
  { operations }: Network,
  inputs: Float32Array,
  out: Float32Array,
  {
    shape,
    count,
    most = chunkImages,
    run,
  }: {
    readonly shape: readonly number[];
    readonly count: number;
    readonly most?: number;
    readonly run: (input: Tensor) => Tensor2D;
  },
): Promise<void> {
  const size = inputs.length / count;
  const width = out.length / count;
  for (let start = 0; start < count; start += most) {
    const images = Math.min(most, count - start);
    const result = operations.tidy(() => {
      const values = inputs.subarray(start * size, (start + images) * size);
      return run(operations.tensor(values, [images, ...shape]));
    });
    try {
      out.set(operations.valuesInPlace(result) ?? (await operations.read(result)), start * width);
    } finally {
      result.dispose();
    }
  }
}

/** The shape of an image that a network takes. */
export function imageShapeOf({
  definition,
}: Network): readonly [height: number, width: number, channels: number] {
  const { height, width, channels } = definition.input;
  return [height, width, channels];
}
