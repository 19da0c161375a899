import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { selectBackend } from './backend.js';
import { limitColumnNorms } from './max-norm.js';

test('units with long weights are scaled to the limit, the others stay', async () => {
  await selectBackend('wasm');
  const weights = tf.variable(
    tf.tensor2d([
      [3, 0.1, 0],
      [4, 0.2, 0],
    ]),
  );
  limitColumnNorms(weights, 2);
  const expected = [1.2, 0.1, 0, 1.6, 0.2, 0];
  weights.dataSync().forEach((value, index) => {
    expect(value).toBeCloseTo(expected[index], 6);
  });
});
