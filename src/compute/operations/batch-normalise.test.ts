import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectAgreement, normal, runs, size } from '../../../test/support/backend-agreement.js';
import { selectBackend } from '../backend.js';
import { batchNormalise, normalise } from './batch-normalise.js';

describe('batch normalisation', () => {
  const epsilon = 1e-3;
  const activations = fc.constantFrom('none' as const, 'relu' as const);
  const activate = (activation: 'none' | 'relu', x: tf.Tensor) => (activation === 'relu' ? tf.relu(x) : x);
  const shape = fc.oneof(fc.tuple(size(40, 2), size(20)), fc.tuple(size(4), size(6, 2), size(6), size(20)));

  test('in training', async () => {
    await fc.assert(
      fc.asyncProperty(shape, activations, size(1000), async (shape, activation, seed) => {
        const channels = [shape[shape.length - 1] ?? 1];
        const axes = shape.slice(0, -1).map((_, axis) => axis);
        await expectAgreement(
          (x, g, b) =>
            batchNormalise(x as tf.Tensor, g as tf.Tensor1D, b as tf.Tensor1D, { epsilon, activation })
              .output,
          (x, g, b) => {
            const { mean, variance } = tf.moments(x as tf.Tensor, axes);
            return activate(
              activation,
              tf.add(
                tf.mul(
                  tf.mul(tf.sub(x as tf.Tensor, mean), tf.rsqrt(tf.add(variance, epsilon))),
                  g as tf.Tensor,
                ),
                b as tf.Tensor,
              ),
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
    await selectBackend('wasm');
    const x = tf.add(tf.tensor(normal(3, [50, 6]).values, [50, 6]), 300);
    const { mean, variance } = batchNormalise(x, tf.ones([6]), tf.zeros([6]));
    await tf.setBackend('cpu');
    const expected = tf.moments(tf.tensor(x.dataSync(), [50, 6]), 0);
    expect(tf.max(tf.abs(tf.sub(mean, expected.mean))).dataSync()[0]).toBeLessThan(1e-3);
    expect(tf.max(tf.abs(tf.sub(variance, expected.variance))).dataSync()[0]).toBeLessThan(1e-3);
  });

  test('at inference', async () => {
    await fc.assert(
      fc.asyncProperty(shape, activations, size(1000), async (shape, activation, seed) => {
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
              { epsilon, activation },
            ),
          (x, m, v, g, b) =>
            activate(
              activation,
              tf.batchNorm(
                x as tf.Tensor,
                m as tf.Tensor1D,
                v as tf.Tensor1D,
                b as tf.Tensor1D,
                g as tf.Tensor1D,
                epsilon,
              ),
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
