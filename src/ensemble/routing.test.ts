import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRouter, type RoutingRule } from './routing.js';
import { indexMembership } from './subsets/membership.js';

const subsets = [{ classes: [3, 1] }, { classes: Int32Array.of(1, 2) }, { classes: [5] }];
const classCount = 6;

const firstOf = (p: ArrayLike<number>) => Array.from(p).indexOf(Math.max(...Array.from(p)));
function route(p: readonly number[], rule?: RoutingRule, of: typeof subsets | undefined = subsets) {
  return createRouter(indexMembership(of, p.length), rule).route(Float64Array.from(p), firstOf(p));
}

test('membership lists the specialists of each class', () => {
  expect(indexMembership(subsets, classCount)).toEqual({
    offsets: Int32Array.of(0, 0, 2, 3, 4, 4, 5),
    specialists: Int32Array.of(0, 1, 1, 0, 2),
  });
});

test('active are the specialists of the most probable classes; ties go to the lower class', () => {
  expect(route([0.1, 0.6, 0, 0.1, 0.1, 0.1])).toEqual([0, 1]);
  expect(route([0.5, 0.5, 0, 0, 0, 0])).toEqual([]);
  expect(route([0.5, 0.5, 0, 0, 0, 0], { top: 2 })).toEqual([0, 1]);
  expect(route([1, 0], {}, [])).toEqual([]);
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
        expect(route(values, { top })).toEqual(expected);
      },
    ),
  );
});

test('by mass, a specialist is queried when its subset holds enough, whichever class is first', () => {
  const overlapping = [{ classes: [0, 1] }, { classes: [2, 3] }, { classes: [1, 4] }];
  const p = [0.05, 0.25, 0.3, 0.1, 0.3];
  expect(route(p, { mass: 0.5 }, overlapping)).toEqual([2]);
  expect(route(p, { mass: 0.4 }, overlapping)).toEqual([1, 2]);
  expect(route(p, { mass: 0.2 }, overlapping)).toEqual([0, 1, 2]);
});

test('adding every mass up gives the same, also where the first class decides', () => {
  const masses = fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: 7, maxLength: 7 });
  const subset = fc.uniqueArray(fc.nat({ max: 6 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      masses,
      fc.array(subset, { maxLength: 5 }),
      fc.constantFrom(0.05, 0.3, 0.7),
      fc.constantFrom(1, 2, 10),
      (logits, classes, mass, most) => {
        const powers = logits.map(Math.exp);
        const p = powers.map((power) => power / powers.reduce((a, b) => a + b, 0));
        const sums = classes.map((of) => of.reduce((sum, c) => sum + p[c], 0));
        if (sums.some((sum) => Math.abs(sum - mass) < 1e-5)) return;
        const expected = [...sums.keys()]
          .filter((m) => sums[m] >= mass)
          .sort((a, b) => sums[b] - sums[a])
          .slice(0, most);
        const found = route(
          p,
          { mass, most },
          classes.map((of) => ({ classes: of })),
        );
        // Masses of classes that are next to nothing are not counted, so that equal ones may change places.
        expect(found).toHaveLength(expected.length);
        found.forEach((m, i) => {
          expect(found.indexOf(m)).toBe(i);
          expect(sums[m]).toBeGreaterThan(Math.min(...expected.map((other) => sums[other])) - 1e-5);
        });
        expect(found).toEqual([...found].sort((a, b) => a - b));
      },
    ),
  );
});

test('of more specialists than the most, those with the most mass; only the first class counts where it decides', () => {
  const equal = Array.from({ length: 40 }, () => ({ classes: [0, 1] }));
  expect(route([0.9, 0.1], { most: 3 }, equal)).toEqual([0, 1, 2]);
  const nested = [{ classes: [0] }, { classes: [0, 1] }, { classes: [0, 1, 2] }];
  expect(route([0.5, 0.3, 0.2], { most: 2 }, nested)).toEqual([1, 2]);
  const membership = indexMembership(nested, 3);
  expect(createRouter(membership).reads).toBe('first');
  expect(createRouter(membership, { most: 3 }).reads).toBe('first');
  expect(createRouter(membership, { most: 2 }).reads).toBe('masses');
  expect(createRouter(membership, { top: 2 }).reads).toBe('order');
  expect(createRouter(membership, { mass: 0.2 }).reads).toBe('masses');
});
