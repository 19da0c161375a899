import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { expectAgreement, normal, size } from '../../../test/support/backend-agreement.js';

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
          (on) => (x, f) => on.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, { strides, padding }),
          (x, f) => tf.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, strides, padding),
          [
            normal(seed, [c.batch, c.height, c.width, c.inputs]),
            normal(seed, [c.filterHeight, c.filterWidth, c.inputs, c.outputs]),
          ],
        );
      }),
      { numRuns: 40 },
    );
  });

  test('without the gradient of the input', async () => {
    await expectAgreement(
      (on) => (x, f) => on.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, { inputGradient: false }),
      (x, f) => tf.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, 1, 'same'),
      [normal(1, [3, 7, 7, 1]), normal(1, [3, 3, 1, 8])],
      { skipGradients: [0] },
    );
  });
});
