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
import { batchNormalise } from '../../src/compute/operations/batch-normalise.js';
import { conv2d } from '../../src/compute/operations/conv2d.js';
import { dense } from '../../src/compute/operations/dense.js';
import { maxPool2d } from '../../src/compute/operations/max-pool2d.js';
import { softmaxCrossEntropy } from '../../src/compute/operations/softmax-cross-entropy.js';
import { adamWStep } from '../../src/compute/optimizer-step.js';
import { supplyFilterGradient } from './training/filter-gradient.js';

const batch = 128;
const learningRate = 1e-3;

interface Contest {
  readonly name: string;
  shipped(): Promise<void>;
  ours(): void;
}

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean', default: false }, repeats: { type: 'string', default: '7' } },
});

const shippedIdentity = tf.getKernel('Identity', 'wasm');
await selectBackend('wasm');
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
  const loss = () => {
    const { filter1, gamma1, beta1, filter2, gamma2, beta2, hidden, hiddenBias, head, headBias } = weights;
    const block = (
      x: tf.Tensor4D,
      filter: tf.Variable,
      gamma: tf.Variable,
      beta: tf.Variable,
      first: boolean,
    ) => {
      const convolved = conv2d(x, filter as tf.Variable<tf.Rank.R4>, { inputGradient: !first });
      const { output } = batchNormalise(convolved, gamma as tf.Tensor1D, beta as tf.Tensor1D, {
        activation: 'relu',
      });
      return maxPool2d(output as tf.Tensor4D);
    };
    const features = block(block(images, filter1, gamma1, beta1, true), filter2, gamma2, beta2, false);
    const flat = tf.reshape(features, [batch, 576]) as tf.Tensor2D;
    const top = tf.relu(
      dense(flat, hidden as tf.Tensor as tf.Tensor2D, hiddenBias as tf.Tensor as tf.Tensor1D),
    );
    return softmaxCrossEntropy(
      dense(top, head as tf.Tensor as tf.Tensor2D, headBias as tf.Tensor as tf.Tensor1D),
      labels,
    );
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
    const top = tf.relu(
      dense(inputs, hidden as tf.Tensor as tf.Tensor2D, hiddenBias as tf.Tensor as tf.Tensor1D, {
        inputGradient: false,
      }),
    );
    return softmaxCrossEntropy(
      dense(top, head as tf.Tensor as tf.Tensor2D, headBias as tf.Tensor as tf.Tensor1D),
      labels,
    );
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

function oursStep(weights: Readonly<Record<string, tf.Variable>>, loss: () => tf.Scalar) {
  const variables = Object.values(weights);
  const moments = new Map(
    variables.map((variable) => [
      variable.name,
      { first: tf.variable(tf.zerosLike(variable)), second: tf.variable(tf.zerosLike(variable)) },
    ]),
  );
  let step = 0;
  return () => {
    step++;
    const { value, grads } = tf.variableGrads(loss, variables);
    value.dataSync();
    for (const variable of variables) {
      const [gradient, moment] = [grads[variable.name], moments.get(variable.name)];
      if (gradient && moment) adamWStep(variable, gradient, moment, { learningRate, step });
    }
    tf.dispose([value, grads]);
  };
}

function parameters<Name extends string>(
  shapes: Readonly<Record<Name, number[]>>,
): Record<Name, tf.Variable> {
  const entries = Object.entries<number[]>(shapes).map(([name, shape]) => {
    const start =
      shape.length > 1 ? tf.randomNormal(shape, 0, 0.05) : tf.fill(shape, name.startsWith('gamma') ? 1 : 0);
    return [name, tf.variable(start)];
  });
  return Object.fromEntries(entries) as Record<Name, tf.Variable>;
}
