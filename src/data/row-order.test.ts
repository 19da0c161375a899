import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { rowBlocks, rowsOfBlock, shuffledRows } from './row-order.js';

const sizes = fc.array(
  fc.record({ rows: fc.integer({ min: 1, max: 40 }), sizeBytes: fc.integer({ min: 1, max: 1000 }) }),
  { maxLength: 30 },
);
const seed = fc.array(fc.oneof(fc.integer(), fc.string()), { minLength: 1, maxLength: 3 });

test('every batch stands in one block, blocks keep within the buffer, rows are permuted', () => {
  fc.assert(
    fc.property(
      sizes,
      fc.option(seed, { nil: undefined }),
      fc.integer({ min: 1, max: 200 }),
      (batches, shuffleSeed, bufferRows) => {
        const blocks = rowBlocks(batches, { shuffleSeed, bufferRows, bufferBytes: 2000 });
        const all = blocks.flatMap((block) => Array.from(block.batches));
        expect(all.toSorted((a, b) => a - b)).toEqual([...batches.keys()]);
        if (!shuffleSeed) expect(all).toEqual([...batches.keys()]);
        for (const block of blocks) {
          const bytes = block.batches.reduce((sum, batch) => sum + batches[batch].sizeBytes, 0);
          const rows = block.batches.reduce((sum, batch) => sum + batches[batch].rows, 0);
          expect(rows).toBe(block.rows);
          if (block.batches.length > 1) {
            expect(rows).toBeLessThanOrEqual(bufferRows);
            expect(bytes).toBeLessThanOrEqual(2000);
          }
          const positions = rowsOfBlock(block, shuffleSeed);
          expect(positions.toSorted()).toEqual(Int32Array.from({ length: rows }, (_, row) => row));
        }
        expect(rowBlocks(batches, { shuffleSeed, bufferRows, bufferBytes: 2000 })).toEqual(blocks);
      },
    ),
  );
});

test('different seeds give different orders', () => {
  const batches = Array.from({ length: 40 }, () => ({ rows: 256, sizeBytes: 1 }));
  const orderOf = (epoch: number) =>
    rowBlocks(batches, { shuffleSeed: [1, epoch] }).flatMap((block) => Array.from(block.batches));
  expect(orderOf(0)).not.toEqual(orderOf(1));
  const [block] = rowBlocks(batches, { shuffleSeed: [1, 0] });
  expect(rowsOfBlock(block, [1, 0])).not.toEqual(rowsOfBlock(block, [1, 1]));
});

test('rows that are shuffled by themselves each come once, and neighbours near each other', () => {
  const order = shuffledRows(20_001, { batchRows: 256, shuffleSeed: ['files', 1] });
  expect([...order].toSorted((a, b) => a - b)).toEqual([...Array(20_001).keys()]);
  expect([...order.subarray(0, 100)].filter((row, place) => row === place).length).toBeLessThan(10);
  // As many batches as two blocks hold, wherever one looks.
  for (let start = 0; start < 20_000; start += 1000) {
    const batches = new Set(order.subarray(start, start + 4096).map((row) => Math.floor(row / 256)));
    expect(batches.size).toBeLessThanOrEqual(64);
  }
  expect(shuffledRows(20_001, { batchRows: 256, shuffleSeed: ['files', 2] })).not.toEqual(order);
});
