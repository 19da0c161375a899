import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectAgreement, normal, runs, size } from '../../../test/support/backend-agreement.js';
import { createRandom } from '../../core/random.js';
import { selectBackend } from '../backend.js';

test('gather of rows, repeated ones too', async () => {
  await fc.assert(
    fc.asyncProperty(size(9), size(9), size(20), size(1000), async (rows, columns, count, seed) => {
      const random = createRandom(seed);
      const indices = Int32Array.from({ length: count }, () => random.below(rows));
      await expectAgreement(
        (on) => (matrix) => on.gatherRows(matrix as tf.Tensor2D, tf.tensor1d(indices, 'int32')),
        (matrix) => tf.gather(matrix as tf.Tensor2D, tf.tensor1d(indices, 'int32')),
        [normal(seed, [rows, columns])],
      );
    }),
    runs,
  );
});

test('indices outside the matrix are refused', async () => {
  const { operations } = await selectBackend('wasm');
  const indices = tf.tensor1d([0, 3], 'int32');
  expect(() => operations.gatherRows(tf.ones<tf.Rank.R2>([3, 4]), indices)).toThrow(
    /from 0 to 2, got 3 at position 1/,
  );
});
