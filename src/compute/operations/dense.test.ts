import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  expectAgreement,
  normal,
  type Operation,
  run,
  runs,
  size,
} from '../../../test/support/backend-agreement.js';
import type { TensorFlowOperations } from '../../../test/support/operations.js';

test('dense, with and without a bias', async () => {
  await fc.assert(
    fc.asyncProperty(size(19), size(19), size(19), size(1000), async (batch, inputs, units, seed) => {
      await expectAgreement(
        (on) => (x, w, b) => on.dense(x as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D),
        (x, w, b) => tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), b as tf.Tensor),
        [normal(seed, [batch, inputs]), normal(seed, [inputs, units]), normal(seed, [units])],
      );
      await expectAgreement(
        (on) => (x, w) => on.dense(x as tf.Tensor2D, w as tf.Tensor2D, undefined),
        (x, w) => tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D),
        [normal(seed, [batch, inputs]), normal(seed, [inputs, units])],
      );
    }),
    runs,
  );
});

test.each([
  [1, 300, 130],
  [5, 33, 64],
  [17, 64, 65],
  [64, 17, 4],
  [130, 140, 70],
])('dense of %i x %i x %i, over the edges of blocks that kernels work in', async (batch, inputs, units) => {
  await expectAgreement(
    (on) => (x, w, b) => on.dense(x as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D),
    (x, w, b) => tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), b as tf.Tensor),
    [normal(batch, [batch, inputs]), normal(batch, [inputs, units]), normal(batch, [units])],
  );
});

test.each([
  ['input', 'weights', 0, { inputGradient: false }],
  ['weights', 'input', 1, { weightsGradient: false }],
] as const)(
  'dense without the gradient of its %s gives zeros for it, and the same gradient of its %s',
  async (_, _other, without, options) => {
    const layer = (on: TensorFlowOperations) => (x: tf.Tensor, w: tf.Tensor) =>
      on.dense(x as tf.Tensor2D, w as tf.Tensor2D, undefined, options);
    const inputs = [normal(1, [5, 9]), normal(1, [9, 7])];
    await expectAgreement(
      layer as (on: TensorFlowOperations) => Operation,
      (x, w) => tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D),
      inputs,
      { skipGradients: [without] },
    );
    const [, ...gradients] = await run('wasm', layer as (on: TensorFlowOperations) => Operation, inputs, 1);
    expect(gradients[without]?.values.every((value) => value === 0)).toBe(true);
  },
);
