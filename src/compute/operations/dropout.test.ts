import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { tensorFlowOn } from '../../../test/support/operations.js';

const on = await tensorFlowOn('wasm');
beforeAll(() => tf.setBackend('wasm'));

describe('dropout', () => {
  test('keeps the expectation, is seeded, and masks the gradient as the output', () => {
    const ones = tf.ones([300, 101]);
    const masked = on.dropout(ones, 0.3, 7).dataSync<'float32'>();
    const zeros = masked.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
    expect(Math.abs(zeros / masked.length - 0.3)).toBeLessThan(0.01);
    expect(masked.every((value) => value === 0 || Math.abs(value - 1 / 0.7) < 1e-6)).toBe(true);
    expect(on.dropout(ones, 0.3, 7).dataSync()).toEqual(masked);
    expect(on.dropout(ones, 0.3, 8).dataSync()).not.toEqual(masked);
    expect(
      tf
        .grad((x) => on.dropout(x, 0.3, 7))(ones)
        .dataSync(),
    ).toEqual(masked);
  });

  test('of rate 0 changes nothing', () => {
    const x = tf.tensor1d([1, 2]);
    expect(on.dropout(x, 0, 1)).toBe(x);
  });
});
