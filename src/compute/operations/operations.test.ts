import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import { selectBackend } from '../backend.js';
import { batchNormalise, normalise } from './batch-normalise.js';
import { conv2d } from './conv2d.js';
import { dense } from './dense.js';
import { dropout } from './dropout.js';
import { gatherRows } from './gather-rows.js';
import { maxPool2d } from './max-pool2d.js';
import { softmaxCrossEntropy } from './softmax-cross-entropy.js';

// Every operation and gradient runs on wasm, and TensorFlow.js's own operations and gradients on cpu.

interface Array32 {
  readonly shape: number[];
  readonly values: Float32Array;
}

type Operation = (...inputs: tf.Tensor[]) => tf.Tensor;

beforeAll(async () => {
  await selectBackend('wasm');
});

function normal(seed: number, shape: number[]): Array32 {
  const random = createRandom(seed, 'operations', ...shape);
  return {
    shape,
    values: Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => random.normal()),
  };
}

/** The output of an operation and its gradients for a given gradient of the output, on a backend. */
async function run(backend: string, operation: Operation, inputs: readonly Array32[], seed: number) {
  await tf.setBackend(backend);
  return tf.tidy(() => {
    const tensors = inputs.map(({ values, shape }) => tf.tensor(values, shape));
    const output = operation(...tensors);
    const upstream = normal(seed, output.shape);
    const dy = tf.tensor(upstream.values, upstream.shape);
    const gradients = tf.grads((...arguments_) => operation(...arguments_))(tensors, dy);
    return [output, ...gradients].map((tensor) => ({
      shape: tensor.shape,
      values: tensor.dataSync<'float32'>(),
    }));
  });
}

async function expectAgreement(
  operation: Operation,
  reference: Operation,
  inputs: readonly Array32[],
  { seed = 1, skipGradients = [] as number[], tolerance = 2e-4 } = {},
): Promise<void> {
  const expected = await run('cpu', reference, inputs, seed);
  const actual = await run('wasm', operation, inputs, seed);
  expected.forEach(({ shape, values }, position) => {
    if (skipGradients.includes(position - 1)) return;
    const got = actual[position];
    const name = position === 0 ? 'output' : `gradient ${position - 1}`;
    expect(got?.shape, name).toEqual(shape);
    const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
    const error = values.reduce((e, value, i) => Math.max(e, Math.abs(value - (got?.values[i] ?? NaN))), 0);
    expect(error / scale, name).toBeLessThan(tolerance);
  });
}

const size = (max: number, min = 1) => fc.integer({ min, max });
const runs = { numRuns: 25 };

test('dense', async () => {
  await fc.assert(
    fc.asyncProperty(size(19), size(19), size(19), size(1000), async (batch, inputs, units, seed) => {
      await expectAgreement(
        (x, w, b) => dense(x as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D),
        (x, w, b) => tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), b as tf.Tensor),
        [normal(seed, [batch, inputs]), normal(seed, [inputs, units]), normal(seed, [units])],
      );
    }),
    runs,
  );
});

const convolution = fc.record({
  batch: size(4),
  height: size(11, 3),
  width: size(11, 3),
  inputs: size(6),
  outputs: size(9),
  filterHeight: size(3),
  filterWidth: size(3),
  strides: size(3),
  padding: fc.constantFrom('same' as const, 'valid' as const),
});

describe('conv2d', () => {
  test('over shapes, strides and paddings', async () => {
    await fc.assert(
      fc.asyncProperty(convolution, size(1000), async (c, seed) => {
        const { strides, padding } = c;
        await expectAgreement(
          (x, f) => conv2d(x as tf.Tensor4D, f as tf.Tensor4D, { strides, padding }),
          (x, f) => tf.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, strides, padding),
          [
            normal(seed, [c.batch, c.height, c.width, c.inputs]),
            normal(seed, [c.filterHeight, c.filterWidth, c.inputs, c.outputs]),
          ],
        );
      }),
      { numRuns: 60 },
    );
  });

  test('without the gradient of the input', async () => {
    await expectAgreement(
      (x, f) => conv2d(x as tf.Tensor4D, f as tf.Tensor4D, { inputGradient: false }),
      (x, f) => tf.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, 1, 'same'),
      [normal(1, [3, 7, 7, 1]), normal(1, [3, 3, 1, 8])],
      { skipGradients: [0] },
    );
  });
});

describe('batch normalisation', () => {
  const epsilon = 1e-3;
  const shape = fc.oneof(fc.tuple(size(40, 2), size(20)), fc.tuple(size(4), size(6, 2), size(6), size(20)));

  test('in training', async () => {
    await fc.assert(
      fc.asyncProperty(shape, size(1000), async (shape, seed) => {
        const channels = [shape[shape.length - 1] ?? 1];
        const axes = shape.slice(0, -1).map((_, axis) => axis);
        await expectAgreement(
          (x, g, b) => batchNormalise(x as tf.Tensor, g as tf.Tensor1D, b as tf.Tensor1D, { epsilon }).output,
          (x, g, b) => {
            const { mean, variance } = tf.moments(x as tf.Tensor, axes);
            return tf.add(
              tf.mul(
                tf.mul(tf.sub(x as tf.Tensor, mean), tf.rsqrt(tf.add(variance, epsilon))),
                g as tf.Tensor,
              ),
              b as tf.Tensor,
            );
          },
          [normal(seed, shape), normal(seed + 1, channels), normal(seed + 2, channels)],
          { tolerance: 2e-3 },
        );
      }),
      runs,
    );
  });

  test('gives the statistics of the batch, also of a channel far from zero', async () => {
    await tf.setBackend('wasm');
    const x = tf.add(tf.tensor(normal(3, [50, 6]).values, [50, 6]), 300);
    const { mean, variance } = batchNormalise(x, tf.ones([6]), tf.zeros([6]));
    await tf.setBackend('cpu');
    const expected = tf.moments(tf.tensor(x.dataSync(), [50, 6]), 0);
    expect(tf.max(tf.abs(tf.sub(mean, expected.mean))).dataSync()[0]).toBeLessThan(1e-3);
    expect(tf.max(tf.abs(tf.sub(variance, expected.variance))).dataSync()[0]).toBeLessThan(1e-3);
  });

  test('at inference', async () => {
    await fc.assert(
      fc.asyncProperty(shape, size(1000), async (shape, seed) => {
        const channels = [shape[shape.length - 1] ?? 1];
        const variance = normal(seed + 4, channels);
        await expectAgreement(
          (x, m, v, g, b) =>
            normalise(
              x as tf.Tensor,
              m as tf.Tensor1D,
              v as tf.Tensor1D,
              g as tf.Tensor1D,
              b as tf.Tensor1D,
              { epsilon },
            ),
          (x, m, v, g, b) =>
            tf.batchNorm(
              x as tf.Tensor,
              m as tf.Tensor1D,
              v as tf.Tensor1D,
              b as tf.Tensor1D,
              g as tf.Tensor1D,
              epsilon,
            ),
          [
            normal(seed, shape),
            normal(seed + 1, channels),
            { ...variance, values: variance.values.map((value) => value * value + 0.1) },
            normal(seed + 2, channels),
            normal(seed + 3, channels),
          ],
        );
      }),
      runs,
    );
  });
});

test('max pooling', async () => {
  const pooling = fc.record({
    shape: fc.tuple(size(3), size(9, 3), size(9, 3), size(10)),
    size: size(3),
    strides: size(3),
    padding: fc.constantFrom('same' as const, 'valid' as const),
  });
  await fc.assert(
    fc.asyncProperty(pooling, size(1000), async ({ shape, size, strides, padding }, seed) => {
      await expectAgreement(
        (x) => maxPool2d(x as tf.Tensor4D, { size, strides, padding }),
        (x) => tf.maxPool(x as tf.Tensor4D, size, strides, padding),
        [normal(seed, shape)],
      );
    }),
    { numRuns: 50 },
  );
});

describe('softmax cross-entropy', () => {
  function reference(labels: Int32Array, labelSmoothing: number): Operation {
    return (logits) => {
      const [, classes = 1] = logits?.shape ?? [];
      const hard = tf.cast(tf.oneHot(tf.tensor1d(labels, 'int32'), classes), 'float32');
      const target = tf.add(tf.mul(hard, 1 - labelSmoothing), labelSmoothing / classes);
      return tf.losses.softmaxCrossEntropy(target, logits as tf.Tensor2D);
    };
  }

  test('over shapes and label smoothing', async () => {
    const smoothing = fc.constantFrom(0, 0.1, 0.5);
    await fc.assert(
      fc.asyncProperty(
        size(20),
        size(40, 2),
        smoothing,
        size(1000),
        async (batch, classes, labelSmoothing, seed) => {
          const random = createRandom(seed);
          const labels = Int32Array.from({ length: batch }, () => random.below(classes));
          await expectAgreement(
            (logits) =>
              softmaxCrossEntropy(logits as tf.Tensor2D, tf.tensor1d(labels, 'int32'), { labelSmoothing }),
            reference(labels, labelSmoothing),
            [normal(seed, [batch, classes])],
          );
        },
      ),
      runs,
    );
  });

  test('of logits so far apart that all but one probability vanish', async () => {
    const logits = { shape: [3, 5], values: Float32Array.from({ length: 15 }, (_, i) => (i % 5) * 60 - 100) };
    const labels = Int32Array.from([0, 4, 2]);
    const operation: Operation = (z) => softmaxCrossEntropy(z as tf.Tensor2D, tf.tensor1d(labels, 'int32'));
    await expectAgreement(operation, reference(labels, 0), [logits]);
    const [, gradient] = await run('wasm', operation, [logits], 1);
    for (const value of gradient?.values ?? []) {
      expect(value === 0 || Math.abs(value) > 1e-30, `${value} is too near zero`).toBe(true);
    }
  });
});

test('gather of rows, repeated ones too', async () => {
  await fc.assert(
    fc.asyncProperty(size(9), size(9), size(20), size(1000), async (rows, columns, count, seed) => {
      const random = createRandom(seed);
      const indices = Int32Array.from({ length: count }, () => random.below(rows));
      await expectAgreement(
        (matrix) => gatherRows(matrix as tf.Tensor2D, tf.tensor1d(indices, 'int32')),
        (matrix) => tf.gather(matrix as tf.Tensor2D, tf.tensor1d(indices, 'int32')),
        [normal(seed, [rows, columns])],
      );
    }),
    runs,
  );
});

test('indices and labels outside the matrix are refused', async () => {
  await tf.setBackend('wasm');
  const matrix = tf.ones([3, 4]) as tf.Tensor2D;
  expect(() => gatherRows(matrix, tf.tensor1d([0, 3], 'int32'))).toThrow(/from 0 to 2, got 3 at position 1/);
  expect(() => softmaxCrossEntropy(matrix, tf.tensor1d([0, 4, -1], 'int32'))).toThrow(
    /from 0 to 3, got 4 at row 1/,
  );
});

describe('dropout', () => {
  test('keeps the expectation, is seeded, and masks the gradient as the output', async () => {
    await tf.setBackend('wasm');
    const ones = tf.ones([300, 101]);
    const masked = dropout(ones, 0.3, 7).dataSync<'float32'>();
    const zeros = masked.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
    expect(Math.abs(zeros / masked.length - 0.3)).toBeLessThan(0.01);
    expect(masked.every((value) => value === 0 || Math.abs(value - 1 / 0.7) < 1e-6)).toBe(true);
    expect(dropout(ones, 0.3, 7).dataSync()).toEqual(masked);
    expect(dropout(ones, 0.3, 8).dataSync()).not.toEqual(masked);
    expect(
      tf
        .grad((x) => dropout(x, 0.3, 7))(ones)
        .dataSync(),
    ).toEqual(masked);
  });

  test('of rate 0 changes nothing', () => {
    const x = tf.tensor1d([1, 2]);
    expect(dropout(x, 0, 1)).toBe(x);
  });
});
