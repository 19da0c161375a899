import fc from 'fast-check';
import { expect, test } from 'vitest';
import { csrFromDense } from '../../../test/support/dense-matrix.js';
import { createRandom } from '../../core/random.js';
import { assignToNearest, centroidDrift, createBounds } from './assignment.js';
import { indexCentroids, preparePoints } from './centroids.js';

test('with bounds, points are assigned as without, wherever the centroids move; most are skipped', () => {
  const [points, clusters, width] = [40, 6, 8];
  let skippedInAll = 0;
  fc.assert(
    fc.property(
      fc.nat(),
      fc.constantFrom('cosine', 'euclidean'),
      fc.array(fc.constantFrom(0, 0.003, 0.1, 2), { minLength: 1, maxLength: 6 }),
      (seed, distance, moves) => {
        const random = createRandom(seed, 'bounds');
        const sparse = (count: number) =>
          Array.from({ length: count }, () => (random.uniform() < 0.4 ? random.normal() : 0));
        const prepared = preparePoints(csrFromDense(sparse(points * width), points, width), distance);
        const selection = Int32Array.from({ length: points }, (_, row) => row);
        const bounds = createBounds(points);
        const assignments = new Int32Array(points).fill(-1);
        const distances = new Float64Array(points);
        let centres = sparse(clusters * width);
        let index = indexCentroids(csrFromDense(centres, clusters, width), distance);
        assignToNearest({ points: prepared, selection, index, assignments, distances, bounds });
        for (const size of moves) {
          // One centroid moves far, the others a little.
          const far = random.below(clusters);
          centres = centres.map((value, k) => {
            const step = Math.floor(k / width) === far ? size : size / 100;
            return value + step * random.normal();
          });
          const before = index;
          index = indexCentroids(csrFromDense(centres, clusters, width), distance);
          const drift = centroidDrift(before, index);
          const known = { ...bounds, drift };
          const { skipped } = assignToNearest({
            ...{ points: prepared, selection, index, assignments, distances },
            bounds: known,
          });
          skippedInAll += skipped;
          const plain = new Int32Array(points).fill(-1);
          assignToNearest({ points: prepared, selection, index, assignments: plain, distances });
          expect([...assignments]).toEqual([...plain]);
        }
      },
    ),
  );
  expect(skippedInAll).toBeGreaterThan(1000);
});
