/**
 * What a training step costs with a full and with a sampled softmax, by the number of classes.
 *
 *     npx tsx scripts/bench/sampled-head.ts [--backend wasm] [--sampled 2048] [--repeats 9] [--json]
 *
 * The generalist of the training benchmarks, batches of 128, at 15,000 and 100,000 classes: medians of processor time
 * in milliseconds. The sides take their steps in turn, in one process.
 */
import { parseArgs } from 'node:util';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { createNetwork } from '../../src/models/network.js';
import { runNetwork } from '../../src/models/run-network.js';
import { Optimizer } from '../../src/training/optimizer.js';
import { sampledTrainingStep } from '../../src/training/sampled-head/sampled-training-step.js';
import { batchSize, generalistDefinition } from './training/workload.js';

const { values: flags } = parseArgs({
  options: {
    backend: { type: 'string', default: 'wasm' },
    sampled: { type: 'string', default: '2048' },
    repeats: { type: 'string', default: '9' },
    json: { type: 'boolean', default: false },
  },
});
const sampled = Number(flags.sampled);
const now = { learningRate: 1e-3, weightDecay: 0.01 };

const { name: backend, operations } = await selectBackend(flags.backend as 'wasm' | 'tensorflow');
const sides = [
  await contestant(15_000, undefined),
  await contestant(15_000, sampled),
  await contestant(100_000, sampled),
];
const times = sides.map((): number[] => []);
for (let round = -2; round < Number(flags.repeats); round++) {
  for (const [side, { step }] of sides.entries()) {
    const used = process.cpuUsage();
    await step(round + 2);
    const { user, system } = process.cpuUsage(used);
    if (round >= 0) times[side].push((user + system) / 1000);
  }
}
const results = sides.map(({ classes, count }, side) => ({
  classes,
  sampled: count ?? null,
  milliseconds: times[side].toSorted((a, b) => a - b)[Math.floor(times[side].length / 2)],
}));
if (flags.json) console.log(JSON.stringify({ backend, batchSize, results }));
else {
  for (const { classes, sampled, milliseconds } of results) {
    const head = sampled === null ? 'full softmax' : `${sampled} candidates`;
    console.log(`${backend}, ${classes} classes, ${head}: ${milliseconds.toFixed(1)} ms a step`);
  }
}

async function contestant(classes: number, count: number | undefined) {
  const definition = generalistDefinition(classes);
  const network = createNetwork(operations, definition, createRandom('sampled'));
  const optimizer = new Optimizer('adamw', network, 'convolutions', { sampledHead: count !== undefined });
  await optimizer.loadHead();
  const random = createRandom('inputs');
  const { height, width } = definition.input;
  const inputs = Float32Array.from({ length: batchSize * height * width }, () => random.uniform());
  const shape = [batchSize, height, width, 1];
  const fullStep = (labels: Int32Array, index: number) =>
    operations.tidy(() => {
      const input = operations.tensor(inputs, shape);
      const { value, gradients } = operations.valueAndGradients(() => {
        const logits = runNetwork(network, input, { training: { dropoutSeed: 1 } });
        return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [batchSize]));
      }, optimizer.parameters);
      optimizer.apply(gradients, { step: index, ...now });
      return value;
    });
  const step = async (index: number) => {
    const labels = Int32Array.from({ length: batchSize }, () => random.below(classes));
    const options = { ...now, step: index, from: 'convolutions', seed: 1, dropoutSeed: 1 } as const;
    const loss =
      count === undefined
        ? fullStep(labels, index)
        : await sampledTrainingStep(
            network,
            optimizer,
            { inputs, shape, labels },
            { ...options, labelSmoothing: 0, count },
          );
    await operations.read(loss);
    loss.dispose();
  };
  return { classes, count, step };
}
