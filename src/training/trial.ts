import type { Operations } from '../compute/operations.js';
import type { Trial } from '../compute/selector.js';
import { createRandom } from '../core/random.js';
import { createNetwork } from '../models/network.js';
import {
  convolutionalFeatures,
  type NetworkDefinition,
  type NetworkPart,
} from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import { Optimizer } from './optimizer.js';
import type { OptimizerKind } from './optimizer-kind.js';

const shortestMs = 300; // of what is timed
const mostSteps = 40;

/**
 * A training as `auto` measures it: a few steps of the network on random images.
 *
 * @param options.from the first part that is trained, on what comes before it
 * @param options.inParallel whether several networks are trained side by side
 */
export function trainingTrial(
  definition: NetworkDefinition,
  {
    batchSize,
    optimizer: kind,
    from = 'convolutions',
    inParallel = false,
  }: {
    readonly batchSize: number;
    readonly optimizer: OptimizerKind;
    readonly from?: NetworkPart;
    readonly inParallel?: boolean;
  },
): Trial {
  const { input, convolutions, dense, outputs } = definition;
  const shape =
    from === 'convolutions' ? [input.height, input.width, input.channels] : [widthBefore(definition, from)];
  const layers = from === 'convolutions' ? [...convolutions, ...dense] : from === 'dense' ? dense : [];
  return {
    name: `training ${[shape.join('x'), ...layers, outputs].join('-')}, batches of ${batchSize}, ${kind}${inParallel ? ', side by side' : ''}`,
    inParallel,
    run: (operations) => measure(operations, definition, { batchSize, kind, from, shape }),
  };
}

function widthBefore(definition: NetworkDefinition, from: NetworkPart): number {
  return from === 'head'
    ? (definition.dense.at(-1) ?? convolutionalFeatures(definition))
    : convolutionalFeatures(definition);
}

async function measure(
  operations: Operations,
  definition: NetworkDefinition,
  {
    batchSize,
    kind,
    from,
    shape,
  }: {
    readonly batchSize: number;
    readonly kind: OptimizerKind;
    readonly from: NetworkPart;
    readonly shape: readonly number[];
  },
): Promise<number> {
  const random = createRandom('trial');
  const network = createNetwork(operations, definition, random);
  const optimizer = new Optimizer(kind, network, from);
  const values = batchSize * shape.reduce((product, extent) => product * extent, 1);
  const inputs = Float32Array.from({ length: values }, () => random.uniform());
  const labels = Int32Array.from({ length: batchSize }, () => random.below(definition.outputs));
  const step = (number: number) =>
    operations.tidy(() => {
      const input = operations.tensor(inputs, [batchSize, ...shape]);
      const loss = () => {
        const logits = runNetwork(network, input, { from, training: { dropoutSeed: number } });
        return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [batchSize]));
      };
      const { value, gradients } = operations.valueAndGradients(loss, optimizer.parameters);
      optimizer.apply(gradients, { step: number, learningRate: 1e-4, weightDecay: 0 });
      return value;
    });
  /** Does steps as a training does, which reads the losses of several at once; returns the seconds. */
  const time = async (first: number, count: number) => {
    const started = performance.now();
    const losses = Array.from({ length: count }, (_, index) => step(first + index));
    for (const loss of losses) await operations.read(loss);
    operations.dispose(losses);
    return performance.now() - started;
  };
  try {
    await time(0, 1); // compiles and allocates
    const single = await time(1, 1);
    const count = Math.min(mostSteps, Math.floor(shortestMs / single));
    if (count <= 1) return (1000 * batchSize) / single;
    return (1000 * batchSize * count) / (await time(2, count));
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}
