import type { ImageShape } from '../data/source.js';

/**
 * A classifier of images as a small plain definition.
 *
 * Each entry of `convolutions` is a block: convolution, normalisation, ReLU, and 2 × 2 max pooling while the
 * image is at least 4 pixels high and wide. Each entry of `dense` is a layer: weights, normalisation, ReLU, dropout.
 * The head is one more dense layer, without normalisation, with an output a class. With no convolutions it is a multi-layer perceptron.
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
  /**
   * Whether the head has no weights: its logits are the last `outputs` numbers of its input, those of a classifier made
   * elsewhere.
   */
  readonly copiesLogits?: true | undefined;
}

/** A network on images of a shape. On features there are no convolutions: neighbours among them have no meaning. */
export function networkOn(
  input: ImageShape,
  network: Omit<NetworkDefinition, 'input' | 'outputs'>,
  outputs: number,
): NetworkDefinition {
  return { ...network, input, ...(input.isFeatures && { convolutions: [] }), outputs };
}

/** A network without a weight, whose logits are the last numbers of its input. */
export const copyingNetwork: Omit<NetworkDefinition, 'input' | 'outputs'> = {
  convolutions: [],
  kernel: 1,
  dense: [],
  normalisation: 'none',
  dropout: 0,
  copiesLogits: true,
};

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

/** Every tensor of a network, in the order of its checkpoint. */
export function networkTensors(definition: NetworkDefinition): readonly TensorSpecification[] {
  const { kernel, convolutions, dense, outputs, copiesLogits } = definition;
  const channels = [definition.input.channels, ...convolutions];
  const widths = [convolutionalFeatures(definition), ...dense];
  return [
    ...convolutions.flatMap((filters, index): TensorSpecification[] => {
      const name = `convolutions.${index}`;
      const shape = [kernel, kernel, channels[index], filters];
      const weights = { name: `${name}.weights`, shape, part: 'convolutions', role: 'weights' } as const;
      return [weights, ...vectors(name, filters, 'convolutions', definition)];
    }),
    ...dense.flatMap((units, index): TensorSpecification[] => {
      const name = `dense.${index}`;
      const weights = {
        name: `${name}.weights`,
        shape: [widths[index], units],
        part: 'dense',
        role: 'weights',
      } as const;
      return [weights, ...vectors(name, units, 'dense', definition)];
    }),
    ...(copiesLogits
      ? []
      : [
          {
            name: 'head.weights',
            shape: [hiddenFeatures(definition), outputs],
            part: 'head',
            role: 'weights',
          } as const,
          { name: 'head.bias', shape: [outputs], part: 'head', role: 'bias' } as const,
        ]),
  ];
}

/** What follows the weights of a layer: its normalisation, or a bias alone. */
function vectors(
  layer: string,
  width: number,
  part: NetworkPart,
  { normalisation }: NetworkDefinition,
): TensorSpecification[] {
  const vector = (name: string, role: TensorRole) => ({
    name: `${layer}.${name}`,
    shape: [width],
    part,
    role,
  });
  if (normalisation === 'none') return [vector('bias', 'bias')];
  return [
    vector('scale', 'bias'),
    vector('bias', 'bias'),
    vector('mean', 'statistic'),
    vector('variance', 'statistic'),
  ];
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

/** Multiplications and additions of a training step are about three times those of a forward pass. */
export const trainingFlopsFactor = 3;

/** Multiplications and additions of one forward pass for one image, from a part of the network on to its end. */
export function forwardFlops(
  definition: NetworkDefinition,
  { from = 'convolutions' }: { readonly from?: NetworkPart } = {},
): number {
  let { height, width } = definition.input;
  let channels: number = definition.input.channels;
  const flops: Record<NetworkPart, number> = { convolutions: 0, dense: 0, head: 0 };
  for (const filters of definition.convolutions) {
    flops.convolutions += 2 * height * width * definition.kernel ** 2 * channels * filters;
    if (pools(height, width)) {
      height = Math.floor(height / 2);
      width = Math.floor(width / 2);
    }
    channels = filters;
  }
  let features = convolutionalFeatures(definition);
  for (const units of definition.dense) {
    flops.dense += 2 * features * units;
    features = units;
  }
  flops.head = definition.copiesLogits ? 0 : 2 * features * definition.outputs;
  return networkParts.slice(networkParts.indexOf(from)).reduce((sum, part) => sum + flops[part], 0);
}

/**
 * Multiplications and additions of a training step for one image.
 *
 * @param options.from the first part that is trained
 * @param options.sampledClasses outputs of the head that a step computes, see `sampledCrossEntropy`; all by default
 */
export function trainingFlopsPerImage(
  definition: NetworkDefinition,
  {
    from = 'convolutions',
    sampledClasses = null,
  }: { readonly from?: NetworkPart; readonly sampledClasses?: number | null | undefined } = {},
): number {
  const outputs = Math.min(sampledClasses ?? definition.outputs, definition.outputs);
  return trainingFlopsFactor * forwardFlops({ ...definition, outputs }, { from });
}

/** How many numbers a network holds. */
export function countParameters(definition: NetworkDefinition): number {
  const sizes = networkTensors(definition).map(({ shape }) =>
    shape.reduce((product, extent) => product * extent, 1),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Whether a convolutional block halves an image of this size. */
export function pools(height: number, width: number): boolean {
  return Math.min(height, width) >= 4;
}
