import { expect, test } from 'vitest';
import { defaultClusters } from './outline.js';

test.each([
  [500, undefined, 10],
  [30, undefined, 2],
  [18_000, 18_709, 360], // nearly all of a model's classes
  [1500, 18_709, 1],
  [4000, 18_709, 3],
  [200, 18_709, 1],
  [5, 90, 1],
])('%i classes of %s are partitioned into %i subsets', (classes, all, clusters) => {
  expect(defaultClusters(classes, all)).toBe(clusters);
});
