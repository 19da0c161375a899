import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createCsrBuilder, csrRow } from '../../math/csr.js';
import type { CentroidSimilarities } from '../../math/kmeans/similarities.js';
import { balancedPartition } from './balanced-partition.js';
import { heaviest, packMasses } from './bounds.js';

/** Dense scores as candidates, best first; scores of 0 are no candidates. */
function candidatesOf(scores: readonly (readonly number[])[]): CentroidSimilarities {
  const clusters = scores[0].length;
  const builder = createCsrBuilder(clusters);
  for (const row of scores) {
    const order = [...row.keys()].filter((k) => row[k] > 0).sort((a, b) => row[b] - row[a] || a - b);
    builder.addRow(
      order,
      order.map((k) => row[k]),
      order.length,
    );
  }
  return { nearest: builder.finish(), unrelated: new Float64Array(clusters) };
}

const problem = (mostPoints: number, mostClusters: number) =>
  fc
    .tuple(fc.integer({ min: 1, max: mostClusters }), fc.integer({ min: 1, max: mostPoints }))
    .filter(([clusters, points]) => clusters <= points)
    .chain(([clusters, points]) =>
      fc.record({
        scores: fc.array(fc.array(fc.nat({ max: 9 }), { minLength: clusters, maxLength: clusters }), {
          minLength: points,
          maxLength: points,
        }),
        minSize: fc.integer({ min: 0, max: Math.floor(points / clusters) }),
        maxSize: fc.integer({ min: Math.ceil(points / clusters), max: points }),
      }),
    );

const total = (scores: readonly (readonly number[])[], clusterOf: ArrayLike<number>) =>
  scores.reduce((sum, row, point) => sum + row[clusterOf[point]], 0);

function sizesOf(clusterOf: Iterable<number>, clusters: number): number[] {
  const sizes: number[] = Array(clusters).fill(0);
  for (const cluster of clusterOf) sizes[cluster]++;
  return sizes;
}

test('sizes keep to the bounds, and no move or exchange on behalf of a point gains', () => {
  fc.assert(
    fc.property(problem(24, 6), ({ scores, minSize, maxSize }) => {
      const candidates = candidatesOf(scores);
      const clusterOf = balancedPartition(candidates, { minSize, maxSize });
      const sizes = sizesOf(clusterOf, scores[0].length);
      for (const size of sizes) {
        expect(size).toBeGreaterThanOrEqual(minSize);
        expect(size).toBeLessThanOrEqual(maxSize);
      }
      scores.forEach((row, point) => {
        const from = clusterOf[point];
        for (const to of csrRow(candidates.nearest, point).indices) {
          const gain = row[to] - row[from];
          if (sizes[to] < maxSize && sizes[from] > minSize) expect(gain).toBeLessThanOrEqual(0);
          if (gain <= 0) continue;
          scores.forEach((other, partner) => {
            if (clusterOf[partner] === to) expect(gain + other[from] - other[to]).toBeLessThanOrEqual(0);
          });
        }
      });
    }),
  );
});

test('near the best of all partitions, found by trying them', () => {
  let found = 0;
  let optimal = 0;
  fc.assert(
    fc.property(problem(7, 3), ({ scores, minSize, maxSize }) => {
      const clusters = scores[0].length;
      let best = 0;
      for (let code = 0; code < clusters ** scores.length; code++) {
        const clusterOf = scores.map((_, point) => Math.floor(code / clusters ** point) % clusters);
        const sizes = sizesOf(clusterOf, clusters);
        if (Math.min(...sizes) < minSize || Math.max(...sizes) > maxSize) continue;
        best = Math.max(best, total(scores, clusterOf));
      }
      const reached = total(scores, balancedPartition(candidatesOf(scores), { minSize, maxSize }));
      expect(reached).toBeLessThanOrEqual(best);
      expect(reached).toBeGreaterThanOrEqual(0.7 * best);
      found += reached;
      optimal += best;
    }),
    { seed: 4, numRuns: 150 },
  );
  expect(found / optimal).toBeGreaterThan(0.985);
});

test('points without candidates fill small clusters before others are moved', () => {
  const scores = [...Array(6).fill([9, 0]), ...Array(3).fill([0, 0])];
  const clusterOf = balancedPartition(candidatesOf(scores), { minSize: 3, maxSize: 6 });
  expect([...clusterOf]).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1]);
});

/** A problem whose points weigh differently, some nothing, some very much; bounded more or less tightly. */
const weighted = problem(24, 6).chain(({ scores, minSize, maxSize }) =>
  fc.record({
    scores: fc.constant(scores),
    minSize: fc.constant(minSize),
    maxSize: fc.constant(maxSize),
    masses: fc.array(fc.oneof(fc.constant(0), fc.nat({ max: 9 }), fc.nat({ max: 60 })), {
      minLength: scores.length,
      maxLength: scores.length,
    }),
    tightness: fc.double({ min: 0, max: 2, noNaN: true }),
  }),
);
const heldBy = (masses: readonly number[], clusterOf: ArrayLike<number>, clusters: number) =>
  Array.from({ length: clusters }, (_, cluster) =>
    masses.reduce((sum, mass, point) => (clusterOf[point] === cluster ? sum + mass : sum), 0),
  );

test('masses and sizes keep to the bounds, and no move or exchange within them gains', () => {
  fc.assert(
    fc.property(weighted, ({ scores, minSize, maxSize, masses: given, tightness }) => {
      const clusters = scores[0].length;
      const masses = Float64Array.from(given);
      const asked = (tightness * masses.reduce((a, b) => a + b, 0)) / clusters;
      const kept = Math.max(
        asked,
        heaviest(masses, packMasses(masses, clusters, { minSize, maxSize }), clusters),
      );
      const candidates = candidatesOf(scores);
      const clusterOf = balancedPartition(candidates, { minSize, maxSize }, { masses, maxMass: asked });
      const sizes = sizesOf(clusterOf, clusters);
      const held = heldBy(given, clusterOf, clusters);
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(minSize);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(maxSize);
      expect(Math.max(...held)).toBeLessThanOrEqual(kept + 1e-6);
      const fits = (mass: number) => mass <= kept - 1e-6;
      scores.forEach((row, point) => {
        const from = clusterOf[point];
        for (const to of csrRow(candidates.nearest, point).indices) {
          const gain = row[to] - row[from];
          if (gain <= 0) continue;
          const isMove = sizes[to] < maxSize && sizes[from] > minSize && fits(held[to] + given[point]);
          expect(isMove).toBe(false);
          scores.forEach((other, partner) => {
            const more = given[point] - given[partner];
            if (clusterOf[partner] !== to || !fits(held[to] + more) || !fits(held[from] - more)) return;
            expect(gain + other[from] - other[to]).toBeLessThanOrEqual(0);
          });
        }
      });
    }),
    { numRuns: 300 },
  );
});

test('packed by mass alone, no cluster exceeds the mean and the heaviest point together', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 50 }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      (given, clusters) => {
        const masses = Float64Array.from(given);
        const clusterOf = packMasses(masses, clusters, { minSize: 0, maxSize: given.length });
        const mean = masses.reduce((a, b) => a + b, 0) / clusters;
        expect(heaviest(masses, clusterOf, clusters)).toBeLessThanOrEqual(mean + Math.max(...given) + 1e-9);
      },
    ),
  );
});

test('where all weigh the same, a bound of the masses is one of the sizes', () => {
  fc.assert(
    fc.property(problem(20, 5), ({ scores, minSize, maxSize }) => {
      const points = scores.length;
      const masses = new Float64Array(points).fill(1);
      const bySize = balancedPartition(candidatesOf(scores), { minSize, maxSize });
      const bound = { masses, maxMass: maxSize };
      const byMass = balancedPartition(candidatesOf(scores), { minSize, maxSize: points }, bound);
      expect(Math.max(...sizesOf(byMass, scores[0].length))).toBeLessThanOrEqual(
        Math.max(maxSize, minSize, Math.ceil(points / scores[0].length)),
      );
      expect(total(scores, byMass)).toBeGreaterThanOrEqual(0.7 * total(scores, bySize));
    }),
  );
});
