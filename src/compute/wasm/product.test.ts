import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { heapOfWasm } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import { multiply, rowMajor, transposed } from './product.js';

const heap = await heapOfWasm();
await tf.setBackend('wasm');

const size = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constantFrom(255, 256, 257, 300));

test('a product of any size, transposed or not, is added to what is there or replaces it', () => {
  fc.assert(
    fc.property(size, size, size, fc.boolean(), fc.boolean(), fc.boolean(), (m, k, n, turnA, turnB, add) => {
      const random = createRandom(m, k, n);
      const draw = (length: number) => Float32Array.from({ length }, () => random.uniform() - 0.5);
      const [a, b, c] = [draw(m * k), draw(k * n), draw(m * n)];
      const tensors = [a, b, c].map((values) => tf.tensor1d(values));
      const [atA = 0, atB = 0, atC = 0] = tensors.map(heap.address);
      const viewA = turnA ? transposed(rowMajor(atA, k, m)) : rowMajor(atA, m, k);
      const viewB = turnB ? transposed(rowMajor(atB, n, k)) : rowMajor(atB, k, n);
      multiply(heap, viewA, viewB, rowMajor(atC, m, n), { add });
      const got = tensors[2]?.dataSync() ?? [];
      let error = 0;
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = add ? (c[i * n + j] ?? Number.NaN) : 0;
          for (let p = 0; p < k; p++) {
            sum += (a[turnA ? p * m + i : i * k + p] ?? 0) * (b[turnB ? j * k + p : p * n + j] ?? 0);
          }
          error = Math.max(error, Math.abs(sum - (got[i * n + j] ?? Number.NaN)));
        }
      }
      tf.dispose(tensors);
      expect(error).toBeLessThan(1e-4);
    }),
    {
      numRuns: 15,
      examples: [
        [257, 300, 29, true, true, true],
        [5, 257, 300, false, false, false],
        [8, 300, 16, false, true, false],
      ],
    },
  );
});
