import fc from 'fast-check';
import { expect, test } from 'vitest';
import { csrFromDense, csrToDense } from '../../../test/support/dense-matrix.js';
import { classColumns } from './class-columns.js';

test('both directions, and the largest other entry on the diagonal', () => {
  const value = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: -2, max: 8 }));
  const matrices = fc
    .integer({ min: 1, max: 6 })
    .chain((size) => fc.array(value, { minLength: size * size, maxLength: size * size }));
  fc.assert(
    fc.property(matrices, (dense) => {
      const size = Math.sqrt(dense.length);
      const found = classColumns(csrFromDense(dense, size, size));
      const values = csrToDense(found);
      for (let i = 0; i < size; i++) {
        const others = Array.from({ length: size }, (_, j) =>
          i === j ? 0 : (dense[i * size + j] + dense[j * size + i]) / 2,
        );
        const largest = Math.max(0, ...others);
        others[i] = largest;
        const expected = largest > 0 ? others : others.map(() => 0);
        expect([...values.subarray(i * size, (i + 1) * size)]).toEqual(expected);
        const columns = [...found.indices.subarray(found.offsets[i], found.offsets[i + 1])];
        expect(columns).toEqual(columns.toSorted((a, b) => a - b));
      }
    }),
  );
});
