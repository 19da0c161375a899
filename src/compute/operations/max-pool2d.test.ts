import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { test } from 'vitest';
import { expectAgreement, normal, size } from '../../../test/support/backend-agreement.js';

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
        (on) => (x) => on.maxPool2d(x as tf.Tensor4D, { size, strides, padding }),
        (x) => tf.maxPool(x as tf.Tensor4D, size, strides, padding),
        [normal(seed, shape)],
      );
    }),
    {
      numRuns: 30,
      examples: [
        [{ shape: [2, 6, 8, 5], size: 2, strides: 2, padding: 'valid' }, 1],
        [{ shape: [2, 7, 5, 4], size: 2, strides: 2, padding: 'valid' }, 2],
      ],
    },
  );
});
