import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSparseSums } from './sparse-sums.js';

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
