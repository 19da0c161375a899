import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMaxHeap } from './max-heap.js';

test('items come out by priority, equal ones by number, whatever was pushed in between', () => {
  const commands = fc.array(fc.option(fc.integer({ min: 0, max: 6 }), { freq: 3 }), { maxLength: 60 });
  fc.assert(
    fc.property(commands, (priorities) => {
      const heap = createMaxHeap();
      let expected: { item: number; priority: number }[] = [];
      priorities.forEach((priority, item) => {
        if (priority !== null) {
          heap.push(item, priority);
          expected.push({ item, priority });
        } else {
          expected.sort((a, b) => b.priority - a.priority || a.item - b.item);
          expect(heap.pop()).toBe(expected[0]?.item ?? -1);
          expected = expected.slice(1);
        }
        expect(heap.size).toBe(expected.length);
      });
    }),
  );
});
