import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { operationsOn } from '../../../test/support/operations.js';
import type { Operations, Tensor2D } from '../operations.js';

const logits = fc.oneof(
  fc.double({ min: -30, max: 30, noNaN: true }),
  fc.constantFrom(0, 1e4, -1e4, Number.NEGATIVE_INFINITY),
);
const matrices = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 23 }))
  .chain(([rows, columns]) =>
    fc
      .array(fc.array(logits, { minLength: columns, maxLength: columns }), {
        minLength: rows,
        maxLength: rows,
      })
      .map((lists) => lists.map((row) => Array.from(Float32Array.from([...row.slice(1), 0.5])))),
  ); // one value of each row is finite

function logSumExp(row: readonly number[]): number {
  const largest = Math.max(...row);
  return largest + Math.log(row.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

describe.each(['wasm', 'cpu'] as const)('on %s', (backend) => {
  let operations: Operations;
  beforeAll(async () => {
    operations = await operationsOn(backend);
  });

  test('agrees with double precision, also where a logit is infinite or huge', async () => {
    await fc.assert(
      fc.asyncProperty(matrices, async (rows) => {
        const matrix = operations.tensor(Float32Array.from(rows.flat()), [rows.length, rows[0].length]);
        const sums = operations.rowLogSumExps(matrix);
        expect(sums.shape).toEqual([rows.length]);
        for (const [row, sum] of (await operations.read(sums)).entries()) {
          const expected = logSumExp(rows[row]);
          expect(Math.abs(sum - expected)).toBeLessThan(1e-6 * (1 + Math.abs(expected)));
        }
        operations.dispose([matrix, sums]);
      }),
    );
  });

  test('its gradient is the softmax, times what comes from above', async () => {
    const [rows, columns] = [3, 11];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(7 * i));
    const variable = operations.variable(values, [rows, columns]);
    const factors = operations.tensor(Float32Array.from([1, -2, 0.5]), [rows]);
    const { value, gradients } = operations.valueAndGradients(
      () => operations.sum(operations.mul(operations.rowLogSumExps(variable as Tensor2D), factors)),
      [variable],
    );
    const softmax = await operations.read(operations.softmax(variable as Tensor2D));
    const found = await operations.read(gradients[0]);
    for (const [at, gradient] of found.entries())
      expect(gradient).toBeCloseTo([1, -2, 0.5][Math.floor(at / columns)] * softmax[at], 6);
    operations.dispose([value, ...gradients, variable, factors]);
  });
});
