import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keepLargest } from './keep-largest.js';
import { topK } from './top-k.js';

// Few distinct values, so that ties are common.
const values = fc.array(fc.integer({ min: -4, max: 4 }), { maxLength: 40 });

test('topK is a full sort cut off at k', () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 0, max: 45 }), (items, k) => {
      const sorted = [...items.keys()].sort((a, b) => items[b] - items[a] || a - b).slice(0, k);
      const found = topK(items, k);
      expect([...found.indices]).toEqual(sorted);
      expect([...found.values]).toEqual(sorted.map((index) => items[index]));
    }),
  );
});

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
