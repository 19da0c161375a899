import fc from 'fast-check';
import { expect, test } from 'vitest';
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
