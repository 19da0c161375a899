import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSparseSums, keepLargest } from './sparse-row.js';

test('the sums are those of a Map, in the order of first use, however often the table is used', () => {
  const index = fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 2 ** 31 - 1 }));
  const additions = fc.array(fc.tuple(index, fc.integer({ min: -3, max: 3 })), { maxLength: 60 });
  fc.assert(
    fc.property(fc.array(additions, { maxLength: 4 }), (rounds) => {
      const sums = createSparseSums();
      for (const round of rounds) {
        const expected = new Map<number, number>();
        sums.begin(round.length);
        for (const [at, value] of round) {
          sums.add(at, value);
          expected.set(at, (expected.get(at) ?? 0) + value);
        }
        const indices = new Int32Array(round.length);
        const values = new Float64Array(round.length);
        const count = sums.take(indices, values);
        expect([...indices.subarray(0, count)]).toEqual([...expected.keys()]);
        expect([...values.subarray(0, count)]).toEqual([...expected.values()]);
      }
    }),
  );
});

// Few distinct values, so that ties are common.
const values = fc.array(fc.integer({ min: -4, max: 4 }), { maxLength: 40 });

test('keepLargest keeps the k of largest magnitude, earlier ones among equals, in their order', () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 45 }), (items, k) => {
      const expected = [...items.keys()]
        .sort((a, b) => Math.abs(items[b]) - Math.abs(items[a]) || a - b)
        .slice(0, k)
        .sort((a, b) => a - b);
      const indices = Int32Array.from(items.keys());
      const kept = Float64Array.from(items);
      const count = keepLargest(indices, kept, items.length, k, new Float64Array(items.length));
      expect([...indices.subarray(0, count)]).toEqual(expected);
      expect([...kept.subarray(0, count)]).toEqual(expected.map((index) => items[index]));
    }),
  );
});
