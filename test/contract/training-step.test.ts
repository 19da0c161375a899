import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import type { Operations, Scalar, Tensor2D, Variable } from '../../src/compute/operations.js';
import { createRandom } from '../../src/core/random.js';
import { contractBackends } from '../support/contract-backends.js';
import { operationsOn } from '../support/operations.js';

const classes = 5;
const batch = 16;

/** A small network of every operation; its parameters and a step of training. */
function createTraining(operations: Operations) {
  const random = createRandom(1, 'training');
  const parameter = <Shape extends readonly number[] | []>(shape: Shape, deviation = 0.2) => {
    const length = shape.reduce((product, extent) => product * extent, 1);
    return operations.variable(
      Float32Array.from({ length }, () => deviation * random.normal()),
      shape,
    );
  };
  const constant = (value: number, length: number) =>
    operations.variable(new Float32Array(length).fill(value), [length]);
  const filter = parameter([3, 3, 1, 4]);
  const [scale, bias, mean, variance] = [constant(1, 4), constant(0, 4), constant(0, 4), constant(1, 4)];
  const table = parameter([classes, 4]);
  const weights = parameter([40, classes]);
  const headBias = constant(0, classes);
  const variables: readonly Variable[] = [filter, scale, bias, table, weights, headBias];
  const moments = variables.map(({ shape, size }) => ({
    first: operations.variable(new Float32Array(size), shape),
    second: operations.variable(new Float32Array(size), shape),
  }));

  // Each class is a bright row of its own in a noisy picture.
  const pixels = new Float32Array(batch * 36);
  const labels = Int32Array.from({ length: batch }, (_, row) => row % classes);
  labels.forEach((label, row) => {
    for (let i = 0; i < 36; i++)
      pixels[row * 36 + i] = 0.2 * random.normal() + (Math.floor(i / 6) === label ? 1 : 0);
  });

  function loss(step: number): Scalar {
    const x = operations.tensor(pixels, [batch, 6, 6, 1]);
    const y = operations.tensor(labels, [batch]);
    const convolved = operations.conv2d(x, filter, { inputGradient: false });
    const normalised = operations.batchNormalise(convolved, { scale, bias, mean, variance });
    const again = operations.normalise(normalised, { scale, bias, mean, variance });
    const pooled = operations.maxPool2d(operations.relu(again));
    const first = operations.tensor(new Int32Array(batch), [batch]);
    const rows = operations.gatherRows(table, first);
    const flat = operations.dropout<Tensor2D>(operations.reshape(pooled, [batch, 36]), 0.1, step);
    const features = operations.concat<Tensor2D>([flat, rows], 1);
    return operations.softmaxCrossEntropy(operations.dense(features, weights, headBias), y, {
      labelSmoothing: 0.05,
    });
  }

  async function train(step: number): Promise<number> {
    const value = operations.tidy(() => {
      const { value, gradients } = operations.valueAndGradients(() => loss(step), variables);
      variables.forEach((variable, index) => {
        const options = { learningRate: 0.01, weightDecay: 0.01, step };
        operations.adamWStep(variable, gradients[index], moments[index], options);
      });
      return value;
    });
    const [now] = await operations.read(value);
    value.dispose();
    return now;
  }
  return { train };
}

const backends = await contractBackends();

test.each(backends)('200 steps on %s leave no tensor behind, and lower the loss', async (backend) => {
  const { train } = createTraining(await operationsOn(backend));
  const first = await train(1);
  const { numTensors, numDataBuffers, numBytes } = tf.memory();
  let last = first;
  for (let step = 2; step <= 201; step++) last = await train(step);
  expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers, numBytes });
  expect(last).toBeLessThan(first / 3);
});

test.each(backends)('20 steps on %s have the losses of the cpu backend', async (backend) => {
  const losses = async (name: typeof backend | 'cpu') => {
    const { train } = createTraining(await operationsOn(name));
    const all: number[] = [];
    for (let step = 1; step <= 20; step++) all.push(await train(step));
    return all;
  };
  const expected = await losses('cpu');
  (await losses(backend)).forEach((loss, index) => {
    expect(Math.abs(loss - (expected[index] ?? Number.NaN)), `step ${index + 1}`).toBeLessThan(1e-3);
  });
});
