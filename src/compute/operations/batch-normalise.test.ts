import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectAgreement, normal, runs, size } from '../../../test/support/backend-agreement.js';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { type TensorFlowOperations, tensorFlowOn } from '../../../test/support/operations.js';
import type { Tensor, Tensor1D, Variable } from '../operations.js';

/** Statistics that follow those of the batches. */
const running = (on: TensorFlowOperations, [channels]: readonly number[]) => {
  const zeros = () => on.variable(new Float32Array(channels), [channels]) as Tensor as Variable<Tensor1D>;
  return { mean: zeros(), variance: zeros() };
};

const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), 0);

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
          (on) => (x, scale, bias) =>
            on.batchNormalise(
              x,
              { ...running(on, channels), scale: scale as tf.Tensor1D, bias: bias as tf.Tensor1D },
              { epsilon, activation },
            ),
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
    const values = normal(3, [50, 6]).values.map((value) => value + 300);
    await tf.setBackend('cpu');
    const expected = tf.moments(tf.tensor(values, [50, 6]), 0);
    for (const backend of ['cpu', ...(await contractBackends())] as const) {
      const on = await tensorFlowOn(backend);
      const { mean, variance } = running(on, [6]);
      const [scale, bias] = [new Float32Array(6).fill(1), new Float32Array(6)].map((v) => on.tensor(v, [6]));
      const x = on.tensor(values, [50, 6]);
      const tensors = { mean, variance, scale: scale as tf.Tensor1D, bias: bias as tf.Tensor1D };
      for (const momentum of [0, 0.25]) {
        on.batchNormalise(x, tensors, { momentum });
        // They were these already, so that any share of them stays.
        expect(distance(await on.read(mean), await expected.mean.data())).toBeLessThan(1e-3);
        expect(distance(await on.read(variance), await expected.variance.data())).toBeLessThan(1e-3);
      }
    }
  });

  test('at inference', async () => {
    await fc.assert(
      fc.asyncProperty(shape, activations, size(1000), async (shape, activation, seed) => {
        const channels = [shape[shape.length - 1] ?? 1];
        const variance = normal(seed + 4, channels);
        await expectAgreement(
          (on) => (x, mean, variance, scale, bias) =>
            on.normalise(
              x,
              {
                mean: mean as tf.Tensor1D,
                variance: variance as tf.Tensor1D,
                scale: scale as tf.Tensor1D,
                bias: bias as tf.Tensor1D,
              },
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
