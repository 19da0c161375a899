/**
 * How much faster a training step is with the operations of src/compute than with TensorFlow.js as shipped,
 * both on the wasm backend, in turn, in this one process. Medians; processor time beside the wall clock's, because
 * other programs of a busy machine disturb it less.
 *
 *     npx tsx scripts/bench/compute.ts [--json] [--repeats 7]
 *
 * As shipped means its layers API with its own gradients and its own Adam. Only Conv2DBackpropFilter, which the
 * wasm backend does not have, is supplied: composed of its own convolution. Its clones copy on that side, as the
 * backend's own do.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { selectBackend } from '../../src/compute/backend.js';
import type {
  Normalisation,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor4D,
  Variable,
} from '../../src/compute/operations.js';
import { createRandom } from '../../src/core/random.js';
import { supplyFilterGradient } from './training/filter-gradient.js';

const batch = 128;
const learningRate = 1e-3;

interface Contest {
  readonly name: string;
  shipped(): Promise<void>;
  ours(): Promise<void>;
}

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean', default: false }, repeats: { type: 'string', default: '7' } },
});

const shippedIdentity = tf.getKernel('Identity', 'wasm');
const { operations } = await selectBackend('wasm');
const ourIdentity = tf.getKernel('Identity', 'wasm');
supplyFilterGradient();

const results = [];
for (const contest of [convolutional(500), fullyConnected(15_000)]) {
  results.push(await compete(contest, Number(flags.repeats)));
}
if (flags.json) console.log(JSON.stringify({ batch, results }));
else {
  for (const result of results) {
    const rate = Math.round((1000 * batch) / result.oursMs);
    console.log(
      `${result.name}: as shipped ${result.shippedMs.toFixed(0)} ms, kd-spec ${result.oursMs.toFixed(1)} ms ` +
        `(${rate} examples/s), ${result.ratio.toFixed(1)} times as fast; in processor time ` +
        `${result.shippedProcessorMs.toFixed(0)} and ${result.oursProcessorMs.toFixed(1)} ms, ` +
        `${result.processorRatio.toFixed(1)} times`,
    );
  }
}

async function compete({ name, shipped, ours }: Contest, repeats: number) {
  const sides = {
    shipped: { wall: [] as number[], processor: [] as number[] },
    ours: { wall: [] as number[], processor: [] as number[] },
  };
  // The first two rounds warm up.
  for (let round = -2; round < repeats; round++) {
    for (const [side, step] of [
      ['shipped', shipped],
      ['ours', ours],
    ] as const) {
      useIdentity(side === 'shipped' ? shippedIdentity : ourIdentity);
      const [start, used] = [performance.now(), process.cpuUsage()];
      await step();
      const { user, system } = process.cpuUsage(used);
      if (round < 0) continue;
      sides[side].wall.push(performance.now() - start);
      sides[side].processor.push((user + system) / 1000);
    }
  }
  const [shippedMs, oursMs] = [median(sides.shipped.wall), median(sides.ours.wall)];
  const [shippedProcessorMs, oursProcessorMs] = [
    median(sides.shipped.processor),
    median(sides.ours.processor),
  ];
  return {
    name,
    shippedMs,
    oursMs,
    ratio: shippedMs / oursMs,
    shippedProcessorMs,
    oursProcessorMs,
    processorRatio: shippedProcessorMs / oursProcessorMs,
  };
}

function useIdentity(identity: tf.KernelConfig): void {
  tf.unregisterKernel('Identity', 'wasm');
  tf.registerKernel(identity);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function convolutional(classes: number): Contest {
  const images = tf.randomNormal<tf.Rank.R4>([batch, 14, 14, 1]);
  const labels = tf.randomUniformInt([batch], 0, classes) as tf.Tensor1D;
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({
        filters: 32,
        kernelSize: 3,
        padding: 'same',
        useBias: false,
        inputShape: [14, 14, 1],
      }),
      tf.layers.batchNormalization(),
      tf.layers.reLU(),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 64, kernelSize: 3, padding: 'same', useBias: false }),
      tf.layers.batchNormalization(),
      tf.layers.reLU(),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 192, activation: 'relu' }),
      tf.layers.dense({ units: classes, activation: 'softmax' }),
    ],
  });
  const weights = parameters({
    filter1: [3, 3, 1, 32],
    gamma1: [32],
    beta1: [32],
    filter2: [3, 3, 32, 64],
    gamma2: [64],
    beta2: [64],
    hidden: [576, 192],
    hiddenBias: [192],
    head: [192, classes],
    headBias: [classes],
  });
  const statistics = parameters({ mean1: [32], gammaVariance1: [32], mean2: [64], gammaVariance2: [64] });
  const { mean1, gammaVariance1: variance1, mean2, gammaVariance2: variance2 } = statistics;
  const loss = () => {
    const { filter1, gamma1, beta1, filter2, gamma2, beta2, hidden, hiddenBias, head, headBias } = weights;
    const block = (x: Tensor4D, filter: Tensor4D, tensors: Normalisation<Variable<Tensor1D>>) => {
      const convolved = operations.conv2d(x, filter, { inputGradient: x !== images });
      return operations.maxPool2d(operations.batchNormalise(convolved, tensors, { activation: 'relu' }));
    };
    const first = block(images, filter1, { scale: gamma1, bias: beta1, mean: mean1, variance: variance1 });
    const tensors = { scale: gamma2, bias: beta2, mean: mean2, variance: variance2 };
    const features = block(first, filter2, tensors);
    const flat = operations.reshape(features, [batch, 576]);
    const top = operations.relu(operations.dense(flat, hidden, hiddenBias));
    return operations.softmaxCrossEntropy(operations.dense(top, head, headBias), labels);
  };
  return {
    name: `convolutional network, ${classes} classes`,
    shipped: shippedStep(model, images, labels, classes),
    ours: oursStep(weights, loss),
  };
}

function fullyConnected(classes: number): Contest {
  const inputs = tf.randomNormal<tf.Rank.R2>([batch, 256]);
  const labels = tf.randomUniformInt([batch], 0, classes) as tf.Tensor1D;
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: 256, activation: 'relu', inputShape: [256] }),
      tf.layers.dense({ units: classes, activation: 'softmax' }),
    ],
  });
  const weights = parameters({
    hidden: [256, 256],
    hiddenBias: [256],
    head: [256, classes],
    headBias: [classes],
  });
  const loss = () => {
    const { hidden, hiddenBias, head, headBias } = weights;
    const top = operations.relu(operations.dense(inputs, hidden, hiddenBias, { inputGradient: false }));
    return operations.softmaxCrossEntropy(operations.dense(top, head, headBias), labels);
  };
  return {
    name: `dense layers 256 and ${classes}`,
    shipped: shippedStep(model, inputs, labels, classes),
    ours: oursStep(weights, loss),
  };
}

function shippedStep(model: tf.Sequential, inputs: tf.Tensor, labels: tf.Tensor1D, classes: number) {
  model.compile({ optimizer: tf.train.adam(learningRate), loss: 'categoricalCrossentropy' });
  const targets = tf.cast(tf.oneHot(labels, classes), 'float32');
  return async () => {
    await model.trainOnBatch(inputs, targets);
  };
}

function oursStep(weights: Readonly<Record<string, Variable>>, loss: () => Scalar) {
  const variables = Object.values(weights);
  const zeros = ({ shape, size }: Variable) => operations.variable(new Float32Array(size), shape);
  const moments = variables.map((variable) => ({ first: zeros(variable), second: zeros(variable) }));
  let step = 0;
  return async () => {
    step++;
    const value = operations.tidy(() => {
      const { value, gradients } = operations.valueAndGradients(loss, variables);
      for (const [index, variable] of variables.entries())
        operations.adamWStep(variable, gradients[index], moments[index], { learningRate, step });
      return value;
    });
    await operations.read(value);
    value.dispose();
  };
}

function parameters<const Shapes extends Readonly<Record<string, readonly number[]>>>(
  shapes: Shapes,
): { readonly [Name in keyof Shapes]: Variable<Tensor<Shapes[Name]>> } {
  const random = createRandom('parameters');
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const length = shape.reduce((product, extent) => product * extent, 1);
    const constant = name.startsWith('gamma') ? 1 : 0;
    const draw = () => (shape.length > 1 ? 0.05 * random.normal() : constant);
    return [name, operations.variable(Float32Array.from({ length }, draw), shape)];
  });
  return Object.fromEntries(entries);
}
