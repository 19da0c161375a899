import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../backend.js';
import { rowRange } from './row-range.js';

beforeAll(async () => {
  await selectBackend('wasm');
});

test.each(['wasm', 'cpu'])('rows from the middle and to the end, on %s', async (backend) => {
  await tf.setBackend(backend);
  try {
    const tensor = tf.tensor3d(
      Float32Array.from({ length: 30 }, (_, i) => i),
      [5, 2, 3],
    );
    for (const [start, count] of [
      [1, 2],
      [4, 1],
      [0, 5],
    ]) {
      const rows = rowRange(tensor, start, count);
      expect(rows.shape).toEqual([count, 2, 3]);
      expect(Array.from(await rows.data())).toEqual(
        Array.from({ length: 6 * count }, (_, i) => 6 * start + i),
      );
      rows.dispose();
    }
    tensor.dispose();
  } finally {
    await tf.setBackend('wasm');
  }
});
