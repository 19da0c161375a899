/**
 * Where the time of a training step goes: for the generalist of the training benchmarks, and for specialists of 300
 * classes that retrain the top and everything.
 *
 *     npx tsx scripts/bench/profile.ts [--backend wasm] [--classes 15000] [--repeats 15] [--json]
 *
 * Milliseconds of processor time a step of 128 images, medians. `data` reads and decodes the images, `augmentation`
 * degrades them; `forward` runs the network and the loss, `backward` computes the gradients, `optimiser` applies
 * them. `JavaScript` is the part of the last three that is spent outside the backend's kernels. Processor time of
 * other threads is counted with the phase in which they run.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../src/compute/backend.js';
import type { Operations } from '../../src/compute/operations.js';
import { createOperations } from '../../src/compute/tensorflow-js/operations.js';
import { createHeap } from '../../src/compute/wasm/heap.js';
import { kernelsOn } from '../../src/compute/wasm/operations.js';
import { createRandom } from '../../src/core/random.js';
import { createAugmenter } from '../../src/data/augmentation.js';
import { imageBatches } from '../../src/data/batches.js';
import type { Dataset } from '../../src/data/dataset.js';
import { createNetwork } from '../../src/models/network.js';
import { convolutionalFeatures, type NetworkPart } from '../../src/models/network-definition.js';
import { runNetwork } from '../../src/models/run-network.js';
import { Optimizer } from '../../src/training/optimizer.js';
import { batchSize, generalistDefinition, specialistOutputs, withGlyphs } from './training/workload.js';

const { values: flags } = parseArgs({
  options: {
    backend: { type: 'string', default: 'wasm' },
    classes: { type: 'string', default: '15000' },
    repeats: { type: 'string', default: '15' },
    json: { type: 'boolean', default: false },
  },
});
const repeats = Number(flags.repeats);

const { name: backend, operations: unclocked } = await selectBackend(flags.backend as 'wasm' | 'tensorflow');
const kernels = clockKernels(unclocked);
const { operations } = kernels;
const data = await withGlyphs(timeData);
const profiles = [
  profile('generalist', Number(flags.classes), 'convolutions'),
  profile('specialist, all', specialistOutputs, 'convolutions'),
  profile('specialist, top', specialistOutputs, 'dense'),
].map((network) => ({ ...network, ...(network.from === 'convolutions' && data) }));
if (flags.json) console.log(JSON.stringify({ backend, batchSize, classes: Number(flags.classes), profiles }));
else {
  for (const { name, from: _, ...phases } of profiles) {
    const words = Object.entries(phases).map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`);
    console.log(`${backend}, ${name}: ${words.join(', ')} ms`);
  }
}

/** Milliseconds a batch for decoding and for augmentation. */
async function timeData({ splits, image, augmentation }: Dataset) {
  const augmenter = createAugmenter(augmentation, image);
  const pass = async (isAugmented: boolean) => {
    const used = process.cpuUsage();
    const batches = imageBatches(splits.train, image, {
      batchSize,
      epochSeed: [1, 'epoch', 0],
      augment: isAugmented
        ? (pixels, row, out, offset) => augmenter(pixels, createRandom(1, 'augment', 0, row), out, offset)
        : undefined,
    });
    for await (const _ of batches);
    return (millisecondsSince(used) * batchSize) / splits.train.rows;
  };
  const both: { plain: number; augmented: number }[] = [];
  for (let round = 0; round < 3; round++)
    both.push({ plain: await pass(false), augmented: await pass(true) });
  const plain = median(both.map((round) => round.plain));
  return { data: plain, augmentation: median(both.map((round) => round.augmented)) - plain };
}

function profile(name: string, outputs: number, from: NetworkPart) {
  const definition = generalistDefinition(outputs);
  const network = createNetwork(operations, definition, createRandom('profile'));
  const optimizer = new Optimizer('adamw', network, from);
  const { height, width, channels } = definition.input;
  const shape =
    from === 'convolutions'
      ? [batchSize, height, width, channels]
      : [batchSize, convolutionalFeatures(definition)];
  const random = createRandom('inputs');
  const inputs = Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => random.uniform());
  const labels = Int32Array.from({ length: batchSize }, () => random.below(outputs));
  const loss = () => {
    const logits = runNetwork(network, operations.tensor(inputs, shape), {
      from,
      training: { dropoutSeed: 1 },
    });
    return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [batchSize]));
  };
  const steps = Array.from({ length: repeats + 2 }, (_, step) =>
    tf.tidy(() => {
      const [forward] = timed(loss);
      const kernelsBefore = kernels.milliseconds();
      const [both, { gradients }] = timed(() => operations.valueAndGradients(loss, optimizer.parameters));
      const [optimiser] = timed(() =>
        optimizer.apply(gradients, { step, learningRate: 1e-3, weightDecay: 0.01 }),
      );
      const outside = both + optimiser - (kernels.milliseconds() - kernelsBefore);
      return { forward, backward: both - forward, optimiser, JavaScript: outside };
    }),
  ).slice(2);
  optimizer.dispose();
  network.dispose();
  const of = (phase: keyof (typeof steps)[number]) => median(steps.map((step) => step[phase]));
  return {
    name,
    from,
    forward: of('forward'),
    backward: of('backward'),
    optimiser: of('optimiser'),
    JavaScript: of('JavaScript'),
  };
}

function timed<T>(work: () => T): [number, T] {
  const used = process.cpuUsage();
  const result = work();
  return [millisecondsSince(used), result];
}

function millisecondsSince(used: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(used);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Sums the processor time inside the outermost calls of the backend's kernels. */
function clockKernels(unclocked: Operations): { milliseconds(): number; readonly operations: Operations } {
  let sum = 0;
  let depth = 0;
  const clocked =
    <Arguments extends unknown[], Result>(run: (...parameters: Arguments) => Result) =>
    (...parameters: Arguments): Result => {
      if (depth > 0) return run(...parameters);
      depth++;
      const used = process.cpuUsage();
      try {
        return run(...parameters);
      } finally {
        sum += millisecondsSince(used);
        depth--;
      }
    };
  const backend: object = tf.backend();
  let operations = unclocked;
  if ('binding' in backend) {
    const binding = backend.binding as { executeOp: (...parameters: unknown[]) => unknown };
    const executeOp = clocked((...parameters: unknown[]) => binding.executeOp(...parameters));
    backend.binding = Object.create(binding, { executeOp: { value: executeOp } });
  } else {
    const heap = createHeap(backend);
    const kernels = kernelsOn({ ...heap, call: clocked(heap.call) });
    operations = createOperations({ name: 'wasm', registered: 'wasm', kernels });
    for (const kernel of tf.getKernelsForBackend(tf.getBackend())) {
      tf.unregisterKernel(kernel.kernelName, kernel.backendName);
      tf.registerKernel({ ...kernel, kernelFunc: clocked(kernel.kernelFunc) });
    }
  }
  return { milliseconds: () => sum, operations };
}
