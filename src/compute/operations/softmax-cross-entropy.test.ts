import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  expectAgreement,
  normal,
  type Operation,
  run,
  runs,
  size,
} from '../../../test/support/backend-agreement.js';
import type { TensorFlowOperations } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import { selectBackend } from '../backend.js';

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
            (on) => (logits) =>
              on.softmaxCrossEntropy(logits as tf.Tensor2D, tf.tensor1d(labels, 'int32'), { labelSmoothing }),
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
    const operation =
      (on: TensorFlowOperations): Operation =>
      (z) =>
        on.softmaxCrossEntropy(z as tf.Tensor2D, tf.tensor1d(labels, 'int32'));
    await expectAgreement(operation, reference(labels, 0), [logits]);
    const [, gradient] = await run('wasm', operation, [logits], 1);
    for (const value of gradient?.values ?? []) {
      expect(value === 0 || Math.abs(value) > 1e-30, `${value} is too near zero`).toBe(true);
    }
  });
});

test('labels that are no class are refused', async () => {
  const { operations } = await selectBackend('wasm');
  const labels = tf.tensor1d([0, 4, -1], 'int32');
  expect(() => operations.softmaxCrossEntropy(tf.ones<tf.Rank.R2>([3, 4]), labels)).toThrow(
    /from 0 to 3, got 4 at row 1/,
  );
});
