import fc from 'fast-check';
import { kmeans } from 'ml-kmeans';
import { describe, expect, test } from 'vitest';
import { csrFromDense, csrToDense } from '../../../test/support/dense-matrix.js';
import { createRandom } from '../../core/random.js';
import { assignToNearest } from './assignment.js';
import { indexCentroids, preparePoints } from './centroids.js';
import { onlineKMeans } from './online-kmeans.js';

/** Groups of points around centres that are far apart; group of a row: `row % groups`. */
function planted({ groups, points, columns }: Record<'groups' | 'points' | 'columns', number>) {
  const random = createRandom(11, 'planted', groups);
  const centres = Array.from({ length: groups * columns }, () => 10 * random.uniform());
  const dense = Array.from({ length: points * columns }, (_, k) => {
    const group = Math.floor(k / columns) % groups;
    return centres[group * columns + (k % columns)] + 0.3 * random.normal();
  });
  return { dense, matrix: csrFromDense(dense, points, columns) };
}

/** Whether two labellings are the same partition. */
function samePartition(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  const pairs = new Set(Array.from(a, (label, index) => `${label} ${b[index]}`));
  return pairs.size === new Set(Array.from(a)).size && pairs.size === new Set(Array.from(b)).size;
}

function rowsOf(dense: readonly number[], columns: number): number[][] {
  return Array.from({ length: dense.length / columns }, (_, row) =>
    dense.slice(row * columns, (row + 1) * columns),
  );
}

const squaredDistance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, k) => sum + (value - b[k]) ** 2, 0);

const unit = (row: readonly number[]) => row.map((value) => value / Math.hypot(...row));

describe('against ml-kmeans', () => {
  const columns = 12;

  test('planted groups: the same partition, centroids and inertia', () => {
    const { dense, matrix } = planted({ groups: 6, points: 240, columns });
    const rows = rowsOf(dense, columns);
    const oracle = kmeans(rows, 6, { initialization: 'kmeans++', seed: 3 });
    const oracleInertia = rows.reduce(
      (sum, row, index) => sum + squaredDistance(row, oracle.centroids[oracle.clusters[index]]),
      0,
    );
    const found = onlineKMeans(matrix, { clusters: 6, distance: 'euclidean', seed: 1, batchSize: 40 });
    expect(samePartition(found.assignments, oracle.clusters)).toBe(true);
    expect(found.inertia / oracleInertia).toBeCloseTo(1, 4);
    const centroids = rowsOf([...csrToDense(found.centroids)], columns);
    oracle.clusters.forEach((cluster, row) => {
      expect(squaredDistance(centroids[found.assignments[row]], oracle.centroids[cluster])).toBeLessThan(
        1e-6,
      );
    });
  });

  test('points without groups: inertia within 3% of the best of ten runs', () => {
    const random = createRandom(2, 'no groups');
    const rows = Array.from({ length: 300 }, () => Array.from({ length: 5 }, () => random.normal()));
    const oracle = Math.min(
      ...Array.from({ length: 10 }, (_, seed) => {
        const { clusters, centroids } = kmeans(rows, 8, { initialization: 'kmeans++', seed });
        return rows.reduce((sum, row, k) => sum + squaredDistance(row, centroids[clusters[k]]), 0);
      }),
    );
    const inertias = Array.from({ length: 5 }, (_, seed) => {
      const options = { clusters: 8, distance: 'euclidean', seed, refinements: 100 } as const;
      return onlineKMeans(csrFromDense(rows.flat(), 300, 5), options).inertia;
    });
    expect(Math.min(...inertias) / oracle).toBeLessThan(1.03);
    expect(inertias.reduce((a, b) => a + b) / 5 / oracle).toBeLessThan(1.08);
  });

  test('the cosine distance is half of the Euclidean one between unit vectors', () => {
    const { dense, matrix } = planted({ groups: 5, points: 200, columns });
    const rows = rowsOf(dense, columns).map(unit);
    const oracle = kmeans(rows, 5, { initialization: 'kmeans++', seed: 3 });
    const found = onlineKMeans(matrix, { clusters: 5, seed: 1, batchSize: 32 });
    expect(samePartition(found.assignments, oracle.clusters)).toBe(true);
    const centroids = rowsOf([...csrToDense(found.centroids)], columns);
    const inertia = rows.reduce(
      (sum, row, k) => sum + squaredDistance(row, centroids[found.assignments[k]]) / 2,
      0,
    );
    expect(found.inertia).toBeCloseTo(inertia, 4);
    for (const centroid of centroids) expect(Math.hypot(...centroid)).toBeCloseTo(1, 5);
  });
});

test('assignToNearest is the dense search over all centroids', () => {
  const value = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -5, max: 5 }));
  const block = (rows: number) => fc.array(value, { minLength: rows * 6, maxLength: rows * 6 });
  fc.assert(
    fc.property(block(8), block(5), fc.constantFrom('cosine', 'euclidean'), (points, centres, distance) => {
      const assignments = new Int32Array(8).fill(-1);
      const distances = new Float64Array(8);
      const index = indexCentroids(csrFromDense(centres, 5, 6), distance);
      const prepared = preparePoints(csrFromDense(points, 8, 6), distance);
      const selection = Int32Array.from({ length: 8 }, (_, k) => k);
      assignToNearest({ points: prepared, selection, index, assignments, distances });

      rowsOf(points, 6).forEach((point, row) => {
        const all = rowsOf(centres, 6).map((centre) => {
          if (distance === 'euclidean') return squaredDistance(point, centre);
          const dot = point.reduce((sum, x, k) => sum + x * centre[k], 0);
          return dot === 0 ? 1 : 1 - dot / Math.hypot(...point) / Math.hypot(...centre);
        });
        if (distance === 'cosine' && point.every((x) => x === 0)) {
          expect(assignments[row]).toBe(-1);
          expect(distances[row]).toBe(0);
        } else {
          expect(distances[row]).toBeCloseTo(Math.min(...all), 4);
          expect(all[assignments[row]]).toBeCloseTo(Math.min(...all), 4);
        }
      });
    }),
  );
});

describe('edges', () => {
  const { matrix } = planted({ groups: 4, points: 60, columns: 8 });

  test('the same seed gives the same result, byte for byte', () => {
    const run = (seed: number) => onlineKMeans(matrix, { clusters: 7, seed, batchSize: 16 });
    expect(run(5)).toEqual(run(5));
    expect(run(5).centroids.values).not.toEqual(run(6).centroids.values);
  });

  test('one cluster holds everything; as many clusters as points hold one each', () => {
    for (const distance of ['cosine', 'euclidean'] as const) {
      expect([...onlineKMeans(matrix, { clusters: 1, seed: 1, distance }).counts]).toEqual([60]);
      const { counts, inertia } = onlineKMeans(matrix, { clusters: 60, seed: 1, distance });
      expect([...counts]).toEqual(Array(60).fill(1));
      expect(inertia).toBeLessThan(1e-3);
    }
  });

  test('a dead centroid is put on a far point', () => {
    // Three places, three clusters, and seeds from a sample that sees only some of the points.
    const rows = Array.from({ length: 90 }, (_, row) => [
      row < 88 ? 1 : 0,
      row === 88 ? 9 : 0,
      row === 89 ? 9 : 0,
    ]);
    const points = csrFromDense(rows.flat(), 90, 3);
    for (let seed = 0; seed < 10; seed++) {
      const options = { clusters: 3, seed, seedingSample: 3, distance: 'euclidean' } as const;
      const { counts, inertia } = onlineKMeans(points, options);
      expect([...counts].sort((a, b) => a - b)).toEqual([1, 1, 88]);
      expect(inertia).toBeCloseTo(0, 9);
    }
  });

  test('fewer distinct points than clusters is no endless search', () => {
    const same = csrFromDense(Array(20).fill(2), 10, 2);
    expect(onlineKMeans(same, { clusters: 4, seed: 1 }).inertia).toBeCloseTo(0, 6);
    const zeros = csrFromDense(Array(20).fill(0), 10, 2);
    expect([...onlineKMeans(zeros, { clusters: 4, seed: 1 }).assignments]).toEqual(Array(10).fill(-1));
  });

  test('a number of clusters out of range is refused with the range', () => {
    for (const clusters of [0, 61, 2.5]) {
      expect(() => onlineKMeans(matrix, { clusters, seed: 1 })).toThrow(/from 1 to 60.*but got/);
    }
  });
});
