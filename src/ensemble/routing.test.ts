import fc from 'fast-check';
import { expect, test } from 'vitest';
import { activeSpecialists } from './routing.js';
import { indexMembership } from './subsets/membership.js';

const subsets = [{ classes: [3, 1] }, { classes: Int32Array.of(1, 2) }, { classes: [5] }];

test('membership lists the specialists of each class', () => {
  expect(indexMembership(subsets, 6)).toEqual({
    offsets: Int32Array.of(0, 0, 2, 3, 4, 4, 5),
    specialists: Int32Array.of(0, 1, 1, 0, 2),
  });
});

test('active are the specialists of the most probable classes; ties go to the lower class', () => {
  const membership = indexMembership(subsets, 6);
  expect(activeSpecialists(Float64Array.of(0.1, 0.6, 0, 0.1, 0.1, 0.1), membership)).toEqual([0, 1]);
  expect(activeSpecialists(Float64Array.of(0.5, 0.5, 0, 0, 0, 0), membership)).toEqual([]);
  expect(activeSpecialists(Float64Array.of(0.5, 0.5, 0, 0, 0, 0), membership, { top: 2 })).toEqual([0, 1]);
  const sparse = { top: 1, classes: [5, 2] };
  expect(activeSpecialists(Float32Array.of(0.7, 0.2), membership, sparse)).toEqual([2]);
});

test('sorting all classes gives the same', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 6, maxLength: 6 }),
      fc.integer({ min: 1, max: 7 }),
      (values, top) => {
        const order = [0, 1, 2, 3, 4, 5].sort((a, b) => values[b] - values[a] || a - b).slice(0, top);
        const expected = [0, 1, 2].filter((m) =>
          order.some((c) => Array.from(subsets[m].classes).includes(c)),
        );
        const membership = indexMembership(subsets, 6);
        expect(activeSpecialists(Float64Array.from(values), membership, { top })).toEqual(expected);
      },
    ),
  );
});

test('by mass, a specialist is asked when its subset holds enough, whichever class is first', () => {
  const subsets = [{ classes: [0, 1] }, { classes: [2, 3] }, { classes: [1, 4] }];
  const membership = indexMembership(subsets, 5);
  const p = Float64Array.of(0.05, 0.25, 0.3, 0.1, 0.3);
  expect(activeSpecialists(p, membership, { mass: 0.5 })).toEqual([2]);
  expect(activeSpecialists(p, membership, { mass: 0.4 })).toEqual([1, 2]);
  expect(activeSpecialists(p, membership, { mass: 0.2 })).toEqual([0, 1, 2]);
  expect(activeSpecialists(p.subarray(1, 2), membership, { mass: 0.2, classes: [1] })).toEqual([0, 2]);
});
