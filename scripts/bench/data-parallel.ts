/**
 * The most that two processes could gain by sharing each batch between them, on wasm.
 *
 *     npx tsx scripts/bench/data-parallel.ts [--repeats 15] [--json]
 *
 * Each of two processes would take a step's gradient of half the batch, copy it to shared memory, add the other's to
 * its own and update all weights. Measured, in processor time of one thread, medians: the step of one process with
 * 128 images; the same with 64; and the exchange. The bound is the first over the sum of the other two: it leaves
 * out that the two wait for each other, that they share the memory's bandwidth, and the preparation of batches.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { createNetwork } from '../../src/models/network.js';
import { runNetwork } from '../../src/models/run-network.js';
import { Optimizer } from '../../src/training/optimizer.js';
import { batchSize, generalistDefinition, inputShape, randomBatch, workloads } from './training/workload.js';

const { values: flags } = parseArgs({
  options: { repeats: { type: 'string', default: '15' }, json: { type: 'boolean', default: false } },
});
const { operations } = await selectBackend('wasm');

const results = workloads
  .filter(({ name }) => name.startsWith('generalist'))
  .map((workload) => {
    const definition = generalistDefinition(workload.outputs);
    const network = createNetwork(operations, definition, createRandom('network'));
    const optimizer = new Optimizer('adamw', network, 'convolutions');
    const { inputs, labels } = randomBatch(workload);
    const size = inputs.length / batchSize;
    const sizes = optimizer.parameters.map((parameter) => parameter.size);
    const shared = sizes.map((length) => new Float32Array(new SharedArrayBuffer(4 * length)));
    const [full, half, exchange]: number[][] = [[], [], []];
    for (let step = -2; step < Number(flags.repeats); step++) {
      for (const [times, images] of [
        [full, batchSize],
        [half, batchSize / 2],
      ] as const) {
        tf.tidy(() => {
          const started = process.cpuUsage();
          const input = operations.tensor(inputs.subarray(0, images * size), [
            images,
            ...inputShape(workload),
          ]);
          const { gradients } = operations.valueAndGradients(() => {
            const logits = runNetwork(network, input, { training: { dropoutSeed: 1 } });
            return operations.softmaxCrossEntropy(
              logits,
              operations.tensor(labels.subarray(0, images), [images]),
            );
          }, optimizer.parameters);
          const copying = process.cpuUsage();
          const values = gradients.map((gradient) => (gradient as tf.Tensor).dataSync<'float32'>());
          for (const [index, gradient] of values.entries()) {
            shared[index].set(gradient);
            const other = shared[index];
            for (let at = 0; at < gradient.length; at++) gradient[at] = (gradient[at] + other[at]) / 2;
          }
          const averaged = optimizer.parameters.map(({ shape }, index) =>
            operations.tensor(values[index], shape),
          );
          const copied = milliseconds(copying);
          optimizer.apply(averaged, { step: step + 2, learningRate: 1e-3, weightDecay: 0.01 });
          if (step < 0) return;
          times.push(milliseconds(started) - copied);
          exchange.push(copied);
        });
      }
    }
    const [fullMs, halfMs, exchangeMs] = [full, half, exchange].map(median);
    return { name: workload.name, fullMs, halfMs, exchangeMs, bound: fullMs / (halfMs + exchangeMs) };
  });
if (flags.json) console.log(JSON.stringify({ batchSize, results }));
else {
  for (const { name, fullMs, halfMs, exchangeMs, bound } of results) {
    console.log(
      `${name}: ${fullMs.toFixed(1)} ms with ${batchSize} images, ${halfMs.toFixed(1)} with half, exchange ` +
        `${exchangeMs.toFixed(1)}: at most ${bound.toFixed(2)} times as fast`,
    );
  }
}

function milliseconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
