import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../compute/backend.js';
import { silentLog } from '../core/log.js';
import { createRandom } from '../core/random.js';
import { createNetwork, type Network, networkValues } from '../models/network.js';
import type { NetworkDefinition } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import { Optimizer } from './optimizer.js';
import type { OptimizerKind } from './optimizer-kind.js';
import { type TrainingPlan, train } from './train.js';

const outputs = 6; // three of them without examples

const definition: NetworkDefinition = {
  input: { height: 6, width: 6, channels: 1 },
  convolutions: [4],
  kernel: 3,
  dense: [8],
  normalisation: 'batch',
  dropout: 0.2,
  outputs,
};
const batchSize = 16;

/** Images whose brightest third tells the class. */
function batch(epoch: number, step: number) {
  const random = createRandom('batch', epoch, step);
  const inputs = Float32Array.from({ length: batchSize * 36 }, () => 0.3 * random.uniform());
  const labels = Int32Array.from({ length: batchSize }, () => random.below(3));
  labels.forEach((label, example) => {
    inputs.subarray(example * 36 + label * 12, example * 36 + (label + 1) * 12).fill(1);
  });
  return { inputs, labels, shape: [batchSize, 6, 6, 1] as const };
}

function plan(epochs: number, stepsPerEpoch: number, afterStep = (_step: number) => {}): TrainingPlan {
  return {
    seed: 3,
    epochs,
    stepsPerEpoch,
    from: 'convolutions',
    schedule: { kind: 'cosine', learningRate: 0.01, warmupSteps: 2, totalSteps: epochs * stepsPerEpoch },
    weightDecay: 0.01,
    labelSmoothing: 0.05,
    async *batches(epoch, skip) {
      for (let step = skip; step < stepsPerEpoch; step++) {
        yield batch(epoch, step);
        afterStep(epoch * stepsPerEpoch + step + 1);
      }
    },
  };
}

async function trainOn(
  network: Network,
  trainingPlan: TrainingPlan,
  {
    kind = 'adamw',
    directory,
    signal,
  }: { kind?: OptimizerKind; directory?: string; signal?: AbortSignal } = {},
) {
  const sampledHead = trainingPlan.sampledClasses !== undefined;
  const optimizer = new Optimizer(kind, network, 'convolutions', { sampledHead });
  try {
    return await train(network, optimizer, trainingPlan, {
      directory: directory ?? (await mkdtemp(join(tmpdir(), 'kd-spec-train-'))),
      log: silentLog,
      signal: signal ?? new AbortController().signal,
      label: 'test',
      checkpointSeconds: 3600,
    });
  } finally {
    optimizer.dispose();
  }
}

const fresh = () => createNetwork(definition, createRandom('weights'));

beforeAll(async () => {
  await selectBackend('wasm');
});

test.each(['adamw', 'sgd'] as const)('%s learns a task that can be learnt', async (kind) => {
  const network = fresh();
  const { loss } = await trainOn(network, plan(4, 25), { kind });
  expect(loss).toBeLessThan(0.5);
  const { inputs, labels, shape } = batch(99, 0);
  const predicted = tf.tidy(() =>
    runNetwork(network, tf.tensor(inputs, [...shape]))
      .argMax(1)
      .dataSync(),
  );
  expect([...predicted]).toEqual([...labels]);
  network.dispose();
});

test.each([undefined, 4])('200 steps leave the number of tensors as it was', async (sampledClasses) => {
  const network = fresh();
  await trainOn(network, { ...plan(1, 5), sampledClasses });
  const before = tf.memory().numTensors;
  await trainOn(network, { ...plan(4, 50), sampledClasses });
  expect(tf.memory().numTensors).toBe(before);
  network.dispose();
});

test.each([undefined, 4])(
  'a training that was interrupted ends with the same weights',
  async (sampledClasses) => {
    const whole = fresh();
    await trainOn(whole, { ...plan(3, 10), sampledClasses });

    const directory = await mkdtemp(join(tmpdir(), 'kd-spec-train-'));
    const resumed = fresh();
    for (const stopAt of [7, 22]) {
      const controller = new AbortController();
      const stopped = trainOn(
        resumed,
        { ...plan(3, 10, (step) => step === stopAt - 1 && controller.abort()), sampledClasses },
        {
          directory,
          signal: controller.signal,
        },
      );
      await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
      // A process that starts again has other weights until it reads the checkpoint.
      resumed.assign(await networkValues(createNetwork(definition, createRandom('others'))));
    }
    await trainOn(resumed, { ...plan(3, 10), sampledClasses }, { directory });

    expect(await networkValues(resumed)).toEqual(await networkValues(whole));
    const epochs = (await readFile(join(directory, 'metrics.jsonl'), 'utf8')).trim().split('\n');
    expect(epochs.map((line) => JSON.parse(line).step)).toEqual([10, 20, 30]);
    whole.dispose();
    resumed.dispose();
  },
);

test('a sampled softmax over all classes trains to the weights of the full one', async () => {
  const [full, sampled] = [fresh(), fresh()];
  await trainOn(full, plan(2, 5));
  await trainOn(sampled, { ...plan(2, 5), sampledClasses: outputs });
  const [expected, values] = [await networkValues(full), await networkValues(sampled)];
  for (const [name, { values: numbers }] of expected) {
    numbers.forEach((value, at) => {
      expect(Math.abs((values.get(name)?.values[at] ?? Number.NaN) - value), name).toBeLessThan(2e-3);
    });
  }
  full.dispose();
  sampled.dispose();
});

test('a loss that is not finite stops the training with advice', async () => {
  const network = fresh();
  const diverging = {
    ...plan(1, 40),
    batches: async function* () {
      for (let step = 0; step < 40; step++)
        yield { ...batch(0, step), inputs: new Float32Array(batchSize * 36).fill(Number.NaN) };
    },
  };
  await expect(trainOn(network, diverging)).rejects.toMatchObject({ code: 'training-diverged' });
  network.dispose();
});
