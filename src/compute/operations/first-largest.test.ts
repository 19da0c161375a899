import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selectBackend } from '../backend.js';
import { firstLargest } from './first-largest.js';

describe.each(['wasm', 'cpu'])('on %s', (backend) => {
  beforeAll(async () => {
    await selectBackend('wasm');
    await tf.setBackend(backend);
  });
  afterAll(async () => {
    await tf.setBackend('wasm');
  });

  test('finds the first of the largest values of each row', async () => {
    const matrices = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 23 }))
      .chain(([rows, columns]) => {
        const length = rows * columns;
        const values = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: length, maxLength: length });
        return values.map((list) => ({ rows, columns, list }));
      });
    await fc.assert(
      fc.asyncProperty(matrices, async ({ rows, columns, list }) => {
        const matrix = tf.tensor2d(list, [rows, columns]);
        const expected = Array.from({ length: rows }, (_, row) => {
          const values = list.slice(row * columns, (row + 1) * columns);
          return values.indexOf(Math.max(...values));
        });
        expect(Array.from(await firstLargest(matrix))).toEqual(expected);
        matrix.dispose();
      }),
    );
  });

  test('of more rows than are looked at once', async () => {
    const rows = 2500;
    const values = Float32Array.from({ length: 7 * rows }, (_, i) =>
      i % 7 === Math.floor(i / 7) % 7 ? 1 : 0,
    );
    const matrix = tf.tensor2d(values, [rows, 7]);
    const found = await firstLargest(matrix);
    expect(found).toEqual(Int32Array.from({ length: rows }, (_, row) => row % 7));
    matrix.dispose();
  });
});
