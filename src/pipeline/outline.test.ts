import { expect, test } from 'vitest';
import { clustersOf } from './outline.js';

const open = { clusters: null, minSize: null, maxSize: null };

test.each([
  [500, 500, 10],
  [30, 30, 2],
  [18_000, 18_709, 360], // nearly all of a model's classes
  [1500, 18_709, 1],
  [4000, 18_709, 3],
  [200, 18_709, 1],
  [5, 90, 1],
])('%i classes of %i are partitioned into %i subsets', (classes, all, clusters) => {
  expect(clustersOf(open, classes, all)).toBe(clusters);
  expect(clustersOf({ ...open, clusters: 7 }, classes, all)).toBe(7);
});

test('bounds on their sizes change how many subsets there are', () => {
  expect(clustersOf({ ...open, maxSize: 100 }, 200, 18_709)).toBe(2);
  expect(clustersOf({ ...open, maxSize: 20 }, 500, 500)).toBe(25);
  expect(clustersOf({ ...open, minSize: 100 }, 500, 500)).toBe(5);
  expect(clustersOf({ ...open, minSize: 600 }, 500, 500)).toBe(1);
});
