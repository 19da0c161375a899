import { expect, test } from 'vitest';
import { tradePlaces } from '../scripts/results/inside/trade-places.js';

const subsets = Array.from({ length: 6 }, (_, id) => ({
  id,
  classes: Array.from({ length: 10 }, (_unused, place) => 7 * id + place), // the last 3 are the next one's first
}));
const sorted = (labels: readonly number[]) => labels.toSorted((a, b) => a - b);

test.each([0, 0.25, 1])('sizes and covered classes stay when a share of %f trades places', (share) => {
  const traded = tradePlaces(subsets, share, 1);
  expect(traded.map(({ id }) => id)).toEqual(subsets.map(({ id }) => id));
  for (const { classes } of traded) expect(new Set(classes).size).toBe(10);
  const covered = (of: typeof traded) => sorted([...new Set(of.flatMap(({ classes }) => classes))]);
  expect(covered(traded)).toEqual(covered(subsets));
  const stayed = new Set(
    subsets.flatMap(({ classes }, id) =>
      classes.filter((label, place) => traded[id].classes[place] === label),
    ),
  );
  expect(stayed.size).toBe(Math.round((1 - share) * covered(subsets).length));
});

test('who trades follows from the seed, and a smaller share is part of a larger one', () => {
  expect(tradePlaces(subsets, 0.5, 1)).toEqual(tradePlaces(subsets, 0.5, 1));
  expect(tradePlaces(subsets, 0.5, 2)).not.toEqual(tradePlaces(subsets, 0.5, 1));
  const moved = (share: number) =>
    tradePlaces(subsets, share, 1).flatMap(({ classes }, id) =>
      subsets[id].classes.filter((label, place) => classes[place] !== label),
    );
  expect(moved(0.5)).toEqual(expect.arrayContaining(moved(0.25)));
});
