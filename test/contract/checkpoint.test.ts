import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import { silentLog } from '../../src/core/log.js';
import { createRandom } from '../../src/core/random.js';
import { createNetwork, type Network, networkValues } from '../../src/models/network.js';
import type { NetworkDefinition } from '../../src/models/network-definition.js';
import { runNetwork } from '../../src/models/run-network.js';
import { Optimizer } from '../../src/training/optimizer.js';
import type { OptimizerKind } from '../../src/training/optimizer-kind.js';
import { train } from '../../src/training/train.js';
import { contractBackends } from '../support/contract-backends.js';
import { operationsOn } from '../support/operations.js';

const definition: NetworkDefinition = {
  input: { height: 8, width: 8, channels: 1 },
  convolutions: [6, 8],
  kernel: 3,
  dense: [16],
  normalisation: 'batch',
  dropout: 0.1,
  outputs: 4,
};
const batchSize = 24;
const [epochs, stepsPerEpoch] = [2, 15];

/** Images whose brightest quarter tells the class. */
function batch(epoch: number, step: number) {
  const random = createRandom('contract', epoch, step);
  const inputs = Float32Array.from({ length: batchSize * 64 }, () => 0.8 * random.uniform());
  const labels = Int32Array.from({ length: batchSize }, () => random.below(4));
  labels.forEach((label, example) => {
    inputs.subarray(example * 64 + label * 16, example * 64 + (label + 1) * 16).fill(1);
  });
  return { inputs, labels, shape: [batchSize, 8, 8, 1] as const };
}

/** Trains on a backend from the checkpoint in a folder, until the end or until after the step that is named. */
async function trainOn(
  backend: BackendName,
  kind: OptimizerKind,
  directory: string,
  stopAfter = Number.POSITIVE_INFINITY,
): Promise<Network> {
  await mkdir(directory, { recursive: true });
  const { operations } = await selectBackend(backend);
  const network = createNetwork(operations, definition, createRandom('weights'));
  const optimizer = new Optimizer(kind, network, 'convolutions');
  const controller = new AbortController();
  const training = train(
    network,
    optimizer,
    {
      seed: 3,
      epochs,
      stepsPerEpoch,
      from: 'convolutions',
      schedule: {
        kind: 'cosine',
        learningRate: 0.004,
        warmupSteps: 2,
        totalSteps: epochs * stepsPerEpoch,
      },
      weightDecay: 0.01,
      labelSmoothing: 0.05,
      async *batches(epoch, skip) {
        for (let step = skip; step < stepsPerEpoch; step++) {
          if (epoch * stepsPerEpoch + step + 1 >= stopAfter) controller.abort();
          yield batch(epoch, step);
        }
      },
    },
    { directory, log: silentLog, signal: controller.signal, label: 'test', checkpointSeconds: 3600 },
  );
  if (Number.isFinite(stopAfter)) await expect(training).rejects.toMatchObject({ code: 'interrupted' });
  else await training;
  optimizer.dispose();
  return network;
}

/** Probabilities of a batch that was not trained on, (batch, outputs). */
async function predict(network: Network): Promise<Float32Array> {
  const { operations } = network;
  const { inputs, shape } = batch(99, 0);
  const probabilities = operations.tidy(() =>
    operations.softmax(runNetwork(network, operations.tensor(inputs, shape))),
  );
  try {
    return await operations.read(probabilities);
  } finally {
    probabilities.dispose();
  }
}

const largestDifference = (a: Float32Array, b: Float32Array) =>
  a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - (b[index] ?? Number.NaN))), 0);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-contract-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const backends = await contractBackends();
// Adam's first steps are as long as the learning rate however small a gradient is, rounding errors too.
const tolerances = { adamw: 5e-3, sgd: 1e-5 };
const ways = backends.flatMap((first) =>
  backends.flatMap((second) => (['adamw', 'sgd'] as const).map((kind) => ({ first, second, kind }))),
);

test.each(ways)(
  '$kind, begun on $first, goes on from its checkpoint on $second',
  async ({ first, second, kind }) => {
    const oracle = await trainOn('wasm', kind, join(folder, `whole-${kind}-${first}-${second}`));
    const expected = await predict(oracle);
    oracle.dispose();

    const directory = join(folder, `halves-${kind}-${first}-${second}`);
    (await trainOn(first, kind, directory, 17)).dispose();
    const resumed = await trainOn(second, kind, directory);
    expect(largestDifference(await predict(resumed), expected)).toBeLessThan(tolerances[kind]);
    resumed.dispose();
  },
);

test.each(backends)('a network predicts on %s what it predicts on cpu', async (backend) => {
  const network = createNetwork(await operationsOn('cpu'), definition, createRandom('weights'));
  const values = await networkValues(network);
  const expected = await predict(network);
  network.dispose();

  const same = createNetwork(await operationsOn(backend), definition, createRandom('others'));
  same.assign(values);
  expect(largestDifference(await predict(same), expected)).toBeLessThan(1e-5);
  same.dispose();
});
