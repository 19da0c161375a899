import fc from 'fast-check';
import { Matrix } from 'ml-matrix';
import { expect, test } from 'vitest';
import { csrFromDense, csrToDense } from '../../test/support/dense-matrix.js';
import { createCsrBuilder, csrRow, selectCsrRows, transposeCsr } from './csr.js';

/** A small matrix of small integers, most of them zero. */
const matrices = fc
  .tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 7 }))
  .chain(([rows, columns]) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      dense: fc.array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: -9, max: 9 })), {
        minLength: rows * columns,
        maxLength: rows * columns,
      }),
    }),
  );

test('dense to sparse and back', () => {
  fc.assert(
    fc.property(matrices, ({ rows, columns, dense }) => {
      const sparse = csrFromDense(dense, rows, columns);
      expect(sparse.values.every((value) => value !== 0)).toBe(true);
      expect([...csrToDense(sparse)]).toEqual(dense.map((value) => value + 0));
    }),
  );
});

test('the transpose is that of ml-matrix, and that of the transpose is the matrix', () => {
  fc.assert(
    fc.property(matrices, ({ rows, columns, dense }) => {
      const sparse = csrFromDense(dense, rows, columns);
      const expected = Matrix.from1DArray(rows, columns, dense).transpose().to1DArray();
      expect([...csrToDense(transposeCsr(sparse))]).toEqual(expected.map((value) => value + 0));
      expect(transposeCsr(transposeCsr(sparse))).toEqual(sparse);
    }),
  );
});

test('rows can be selected and built again', () => {
  fc.assert(
    fc.property(matrices, fc.array(fc.nat(), { maxLength: 9 }), ({ rows, columns, dense }, picks) => {
      const sparse = csrFromDense(dense, rows, columns);
      const selection = picks.map((pick) => pick % rows);
      const selected = selectCsrRows(sparse, selection);
      expect([...csrToDense(selected)]).toEqual(
        selection.flatMap((row) => dense.slice(row * columns, (row + 1) * columns).map((value) => value + 0)),
      );
      const builder = createCsrBuilder(columns, { entries: 1 });
      for (const row of selection) {
        const { indices, values } = csrRow(sparse, row);
        builder.addRow(indices, values, indices.length);
      }
      expect(builder.finish()).toEqual(selected);
    }),
  );
});
