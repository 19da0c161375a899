import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { operationsOn } from '../../../test/support/operations.js';
import type { Operations } from '../operations.js';

describe.each(['wasm', 'cpu'] as const)('on %s', (backend) => {
  let operations: Operations;
  beforeAll(async () => {
    operations = await operationsOn(backend);
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
        const matrix = operations.tensor(Float32Array.from(list), [rows, columns]);
        const expected = Array.from({ length: rows }, (_, row) => {
          const values = list.slice(row * columns, (row + 1) * columns);
          return values.indexOf(Math.max(...values));
        });
        expect(Array.from(await operations.firstLargest(matrix))).toEqual(expected);
        matrix.dispose();
      }),
    );
  });

  test('of more rows than are looked at once', async () => {
    const rows = 2500;
    const values = Float32Array.from({ length: 7 * rows }, (_, i) =>
      i % 7 === Math.floor(i / 7) % 7 ? 1 : 0,
    );
    const matrix = operations.tensor(values, [rows, 7]);
    const found = await operations.firstLargest(matrix);
    expect(found).toEqual(Int32Array.from({ length: rows }, (_, row) => row % 7));
    matrix.dispose();
  });
});
