import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { selectBackend } from '../compute/backend.js';
import { silentLog } from '../core/log.js';
import { createRandom } from '../core/random.js';
import { createNetwork, type Network, networkValues } from '../models/network.js';
import type { NetworkDefinition } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import type { EpochMetrics } from './metrics-log.js';
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

/** On images of which a third have wrong labels: a network that grows too sure of itself loses on them. */
async function validationLossOf(network: Network) {
  const { inputs, labels, shape } = batch(1000, 0);
  const disputed = labels.map((label, example) => (example % 3 === 0 ? (label + 1) % 3 : label));
  const loss = operations.tidy(() =>
    operations.softmaxCrossEntropy(
      runNetwork(network, operations.tensor(inputs, shape)),
      operations.tensor(disputed, [disputed.length]),
    ),
  );
  const [validationLoss] = await operations.read(loss);
  loss.dispose();
  return { validationLoss, validationTemperedLoss: validationLoss };
}

async function metricsIn(directory: string): Promise<EpochMetrics[]> {
  const lines = (await readFile(join(directory, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  return lines.map((line) => JSON.parse(line));
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
      validate: () => validationLossOf(network),
    });
  } finally {
    optimizer.dispose();
  }
}

const { operations } = await selectBackend('wasm');
const fresh = () => createNetwork(operations, definition, createRandom('weights'));

test.each(['adamw', 'sgd'] as const)('%s learns a task that can be learnt', async (kind) => {
  const network = fresh();
  const { loss } = await trainOn(network, plan(4, 25), { kind });
  expect(loss).toBeLessThan(0.5);
  const { inputs, labels, shape } = batch(99, 0);
  const logits = operations.tidy(() => runNetwork(network, operations.tensor(inputs, shape)));
  const predicted = await operations.firstLargest(logits);
  expect([...predicted]).toEqual([...labels]);
  network.dispose();
});

test('an offset of the last output trains as a bias that is as much higher', async () => {
  const [raised, offset] = [fresh(), fresh()];
  const bias = await operations.read(raised.variable('head.bias'));
  operations.assign(
    raised.variable('head.bias'),
    bias.map((value, output) => (output === outputs - 1 ? value + 3 : value)),
  );
  const own = { ...plan(1, 5), weightDecay: 0 };
  const plain = await trainOn(raised, own, { kind: 'sgd' });
  const lifted = await trainOn(
    offset,
    {
      ...own,
      async *batches(epoch, skip) {
        for await (const one of own.batches(epoch, skip))
          yield { ...one, lastOffsets: new Float32Array(batchSize).fill(3) };
      },
    },
    { kind: 'sgd' },
  );
  expect(lifted.loss).toBeCloseTo(plain.loss, 4);
  const [expected, found] = [await networkValues(raised), await networkValues(offset)];
  for (const [name, { values }] of found) {
    const wanted = expected.get(name)?.values ?? [];
    for (const [at, value] of values.entries()) {
      const higher = name === 'head.bias' && at === outputs - 1 ? 3 : 0;
      expect(value + higher).toBeCloseTo(wanted[at], 4);
    }
  }
  raised.dispose();
  offset.dispose();
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
      resumed.assign(await networkValues(createNetwork(operations, definition, createRandom('others'))));
    }
    await trainOn(resumed, { ...plan(3, 10), sampledClasses }, { directory });

    expect(await networkValues(resumed)).toEqual(await networkValues(whole));
    expect((await metricsIn(directory)).map(({ step }) => step)).toEqual([10, 20, 30]);
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

describe.each(['plateau', 'cosine', 'constant'] as const)('early stopping with the schedule %s', (kind) => {
  const stopping = { patience: 3, stepsPerCheck: 4 };
  const early = (sampledClasses?: number, afterStep = (_step: number) => {}): TrainingPlan => {
    const whole = plan(30, 10, afterStep);
    return {
      ...whole,
      schedule: { ...whole.schedule, kind, learningRate: 0.02 },
      labelSmoothing: 0,
      stopping,
      sampledClasses,
    };
  };

  test.each([undefined, 4])(
    'it ends before the last epoch and keeps the best weights (sampled %s)',
    async (sampledClasses) => {
      const directory = await mkdtemp(join(tmpdir(), 'kd-spec-train-'));
      const network = fresh();
      const before = tf.memory().numTensors;
      const { steps, state } = await trainOn(network, early(sampledClasses), { directory });
      expect(tf.memory().numTensors).toBe(before);
      const checks = await metricsIn(directory);
      expect(steps).toBeLessThan(300);
      expect(checks.at(-1)?.step).toBe(steps);
      expect(checks.map(({ step }) => step).slice(0, 4)).toEqual([4, 8, 10, 14]); // every 4 steps of an epoch, and its end
      const losses = checks.map(({ validationLoss = Number.NaN }) => validationLoss);
      const best = losses.indexOf(Math.min(...losses));
      expect(state.step).toBe(checks[best].step);
      expect(state.step).toBeLessThan(steps);
      // The sampled head's rows get the decay that they still lacked when they were measured.
      const { validationLoss } = await validationLossOf(network);
      expect(validationLoss).toBeCloseTo(losses[best], sampledClasses ? 2 : 6);
      network.dispose();
    },
  );

  test.each([undefined, 4])(
    'interrupted, it ends with the same weights (sampled %s)',
    async (sampledClasses) => {
      const wholeDirectory = await mkdtemp(join(tmpdir(), 'kd-spec-train-'));
      const whole = fresh();
      const { steps, state, loss } = await trainOn(whole, early(sampledClasses), {
        directory: wholeDirectory,
      });

      const directory = await mkdtemp(join(tmpdir(), 'kd-spec-train-'));
      const resumed = fresh();
      for (const stopAt of [3, state.step, state.step + 3, steps]) {
        const controller = new AbortController();
        const stopped = trainOn(
          resumed,
          early(sampledClasses, (step) => step === stopAt - 1 && controller.abort()),
          {
            directory,
            signal: controller.signal,
          },
        );
        await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
        resumed.assign(await networkValues(createNetwork(operations, definition, createRandom('others'))));
      }
      const summary = await trainOn(resumed, early(sampledClasses), { directory });

      expect(summary).toMatchObject({ steps, loss: expect.closeTo(loss, 6), state: { step: state.step } });
      expect(await networkValues(resumed)).toEqual(await networkValues(whole));
      const seen = async (folder: string) =>
        (await metricsIn(folder)).map(({ step, validationLoss }) => ({ step, validationLoss }));
      expect(await seen(directory)).toEqual(await seen(wholeDirectory));
      whole.dispose();
      resumed.dispose();
    },
  );
});

test('without validation early stopping has nothing to go by, and every epoch is trained', async () => {
  const network = fresh();
  const optimizer = new Optimizer('adamw', network, 'convolutions');
  const { steps } = await train(
    network,
    optimizer,
    { ...plan(3, 5), stopping: { patience: 1, stepsPerCheck: 2 } },
    {
      directory: await mkdtemp(join(tmpdir(), 'kd-spec-train-')),
      log: silentLog,
      signal: new AbortController().signal,
      label: 'test',
      checkpointSeconds: 3600,
      validate: async () => ({}),
    },
  );
  expect(steps).toBe(15);
  optimizer.dispose();
  network.dispose();
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
