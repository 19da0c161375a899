import fc from 'fast-check';
import { expect, test } from 'vitest';
import { csrFromDense } from '../../../test/support/dense-matrix.js';
import { csrRow } from '../csr.js';
import { indexCentroids, preparePoints } from './centroids.js';
import { nearestCentroids, nearestPoints, similaritiesToOwn } from './similarities.js';

const width = 5;
const value = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: -5, max: 5 }));
const block = (rows: number) => fc.array(value, { minLength: rows * width, maxLength: rows * width });

test('all three agree with the dense definition', () => {
  fc.assert(
    fc.property(block(7), block(4), fc.constantFrom('cosine', 'euclidean'), (points, centres, distance) => {
      const dense = (point: number, cluster: number) => {
        const x = points.slice(point * width, (point + 1) * width);
        const c = centres.slice(cluster * width, (cluster + 1) * width);
        const dot = x.reduce((sum, entry, k) => sum + entry * c[k], 0);
        if (distance === 'euclidean') return dot - Math.hypot(...c) ** 2 / 2;
        return dot === 0 ? 0 : dot / Math.hypot(...x) / Math.hypot(...c);
      };
      const shares = (point: number, cluster: number) =>
        Array.from(
          { length: width },
          (_, k) => points[point * width + k] * centres[cluster * width + k],
        ).some((product) => product !== 0);
      const matrix = csrFromDense(points, 7, width);
      const centroids = csrFromDense(centres, 4, width);
      const prepared = preparePoints(matrix, distance);

      const candidates = 2;
      const { nearest, unrelated } = nearestCentroids(prepared, centroids, { candidates });
      for (let point = 0; point < 7; point++) {
        const { indices, values } = csrRow(nearest, point);
        const related = [0, 1, 2, 3].filter((cluster) => shares(point, cluster));
        const best = related.map((cluster) => dense(point, cluster)).sort((a, b) => b - a);
        expect(indices.length).toBe(Math.min(candidates, related.length));
        indices.forEach((cluster, k) => {
          expect(values[k]).toBeCloseTo(dense(point, cluster), 4);
          expect(values[k]).toBeCloseTo(best[k], 4);
        });
        for (const cluster of [0, 1, 2, 3]) {
          if (!shares(point, cluster)) expect(unrelated[cluster]).toBeCloseTo(dense(point, cluster), 4);
        }
      }

      const byCluster = nearestPoints(matrix, centroids, { distance, size: 3 });
      for (let cluster = 0; cluster < 4; cluster++) {
        const { indices, values } = csrRow(byCluster, cluster);
        const related = [...Array(7).keys()].filter((point) => shares(point, cluster));
        const best = related.map((point) => dense(point, cluster)).sort((a, b) => b - a);
        expect(indices.length).toBe(Math.min(3, related.length));
        indices.forEach((point, k) => {
          expect(values[k]).toBeCloseTo(dense(point, cluster), 4);
          expect(values[k]).toBeCloseTo(best[k], 4);
        });
      }

      const assignments = Int32Array.of(0, 1, 2, 3, -1, 0, 1);
      const own = similaritiesToOwn(prepared, indexCentroids(centroids, distance), assignments);
      assignments.forEach((cluster, point) => {
        expect(own[point]).toBeCloseTo(cluster < 0 ? 0 : dense(point, cluster), 4);
      });
    }),
  );
});
