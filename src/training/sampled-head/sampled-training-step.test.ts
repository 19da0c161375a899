import { expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import { createRandom } from '../../core/random.js';
import { createNetwork } from '../../models/network.js';
import { type NetworkDefinition, trainingFlopsPerImage } from '../../models/network-definition.js';
import { Optimizer } from '../optimizer.js';
import { sampledTrainingStep } from './sampled-training-step.js';

const { operations } = await selectBackend('wasm');

/** Operations that count the multiplications and additions of the forward pass's products. */
function countProducts(counted: { flops: number }): Operations {
  return {
    ...operations,
    dense(x, weights, bias, options) {
      counted.flops += 2 * x.shape[0] * weights.shape[0] * weights.shape[1];
      return operations.dense(x, weights, bias, options);
    },
  };
}

test.each([
  { classes: 500, sampledClasses: 40 },
  { classes: 30, sampledClasses: 30 },
  { classes: 30, sampledClasses: 100 },
])(
  'a step over $sampledClasses of $classes classes computes what it is counted as',
  async ({ classes, sampledClasses }) => {
    const definition: NetworkDefinition = {
      input: { height: 4, width: 4, channels: 1 },
      convolutions: [],
      kernel: 3,
      dense: [12],
      normalisation: 'batch',
      dropout: 0,
      outputs: classes,
    };
    const counted = { flops: 0 };
    const network = createNetwork(countProducts(counted), definition, createRandom('flops'));
    const optimizer = new Optimizer('adamw', network, 'convolutions', { sampledHead: true });
    await optimizer.loadHead();
    const batch = 8;
    const loss = await sampledTrainingStep(
      network,
      optimizer,
      {
        inputs: new Float32Array(batch * 16).fill(0.5),
        shape: [batch, 4, 4, 1],
        labels: Int32Array.from({ length: batch }, (_, row) => row % classes),
      },
      {
        from: 'convolutions',
        seed: 1,
        dropoutSeed: 1,
        labelSmoothing: 0,
        count: sampledClasses,
        step: 0,
        learningRate: 0.01,
        weightDecay: 0,
      },
    );
    loss.dispose();
    // By hand: 16 inputs to 12 units, 12 units to the classes that take part; three such passes a step.
    const taking = Math.min(sampledClasses, classes);
    expect(trainingFlopsPerImage(definition, { sampledClasses })).toBe(3 * 2 * (16 * 12 + 12 * taking));
    expect(3 * counted.flops).toBe(batch * trainingFlopsPerImage(definition, { sampledClasses }));
    optimizer.dispose();
    network.dispose();
  },
);
