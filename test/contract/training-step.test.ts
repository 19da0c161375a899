import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { batchNormalise, normalise } from '../../src/compute/operations/batch-normalise.js';
import { conv2d } from '../../src/compute/operations/conv2d.js';
import { dense } from '../../src/compute/operations/dense.js';
import { dropout } from '../../src/compute/operations/dropout.js';
import { gatherRows } from '../../src/compute/operations/gather-rows.js';
import { maxPool2d } from '../../src/compute/operations/max-pool2d.js';
import { softmaxCrossEntropy } from '../../src/compute/operations/softmax-cross-entropy.js';
import { adamWStep } from '../../src/compute/optimizer-step.js';
import { createRandom } from '../../src/core/random.js';
import { contractBackends } from '../support/contract-backends.js';

const classes = 5;
const batch = 16;

/** A small network of every operation; its parameters and a step of training. */
function createTraining() {
  const random = createRandom(1, 'training');
  const parameter = (shape: number[], deviation = 0.2) => {
    const values = Float32Array.from(
      { length: tf.util.sizeFromShape(shape) },
      () => deviation * random.normal(),
    );
    return tf.variable(tf.tensor(values, shape));
  };
  const filter = parameter([3, 3, 1, 4]);
  const gamma = tf.variable(tf.ones([4]));
  const beta = tf.variable(tf.zeros([4]));
  const table = parameter([classes, 4]);
  const weights = parameter([40, classes]);
  const bias = tf.variable(tf.zeros([classes]));
  const variables = [filter, gamma, beta, table, weights, bias];
  const moments = variables.map((v) => ({
    first: tf.variable(tf.zerosLike(v)),
    second: tf.variable(tf.zerosLike(v)),
  }));

  // Each class is a bright row of its own in a noisy picture.
  const pixels = new Float32Array(batch * 36);
  const labels = Int32Array.from({ length: batch }, (_, row) => row % classes);
  labels.forEach((label, row) => {
    for (let i = 0; i < 36; i++)
      pixels[row * 36 + i] = 0.2 * random.normal() + (Math.floor(i / 6) === label ? 1 : 0);
  });

  function loss(step: number): tf.Scalar {
    const x = tf.tensor4d(pixels, [batch, 6, 6, 1]);
    const y = tf.tensor1d(labels, 'int32');
    const convolved = conv2d(x, filter as tf.Tensor4D, { inputGradient: false });
    const { output, mean, variance } = batchNormalise(convolved, gamma as tf.Tensor1D, beta as tf.Tensor1D);
    const again = normalise(output, mean, variance, gamma as tf.Tensor1D, beta as tf.Tensor1D);
    const pooled = maxPool2d(tf.relu(again) as tf.Tensor4D);
    const rows = gatherRows(table as tf.Tensor2D, tf.zerosLike(y));
    const flat = dropout(tf.reshape(pooled, [batch, 36]) as tf.Tensor2D, 0.1, step);
    const features = tf.concat([flat, rows], 1) as tf.Tensor2D;
    return softmaxCrossEntropy(dense(features, weights as tf.Tensor2D, bias as tf.Tensor1D), y, {
      labelSmoothing: 0.05,
    });
  }

  function train(step: number): number {
    const { value, grads } = tf.variableGrads(() => loss(step), variables);
    variables.forEach((variable, index) => {
      const [gradient, moment] = [grads[variable.name], moments[index]];
      if (!gradient || !moment) throw new Error(`no gradient of ${variable.name}`);
      adamWStep(variable, gradient, moment, { learningRate: 0.01, weightDecay: 0.01, step });
    });
    const [now = Number.NaN] = value.dataSync();
    tf.dispose([value, grads]);
    return now;
  }
  return { train };
}

const backends = await contractBackends();

test.each(backends)('200 steps on %s leave no tensor behind, and lower the loss', async (backend) => {
  await selectBackend(backend);
  const { train } = createTraining();
  const first = train(1);
  const { numTensors, numDataBuffers, numBytes } = tf.memory();
  let last = first;
  for (let step = 2; step <= 201; step++) last = train(step);
  expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers, numBytes });
  expect(last).toBeLessThan(first / 3);
});

test.each(backends)('20 steps on %s have the losses of the cpu backend', async (backend) => {
  const losses = async (name: typeof backend | 'cpu') => {
    await selectBackend(name === 'cpu' ? 'wasm' : name);
    if (name === 'cpu') await tf.setBackend('cpu');
    const { train } = createTraining();
    return Array.from({ length: 20 }, (_, index) => train(index + 1));
  };
  const expected = await losses('cpu');
  (await losses(backend)).forEach((loss, index) => {
    expect(Math.abs(loss - (expected[index] ?? Number.NaN)), `step ${index + 1}`).toBeLessThan(1e-3);
  });
});
