import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { csrFromDense } from '../../../test/support/dense-matrix.js';
import { createRandom } from '../../core/random.js';
import type { PredictionBatch } from '../../data/predictions.js';
import type { CsrMatrix } from '../../math/csr.js';
import { confusionAffinity, covarianceAffinity } from '../confusion/affinity.js';
import { classColumns, confusionMasses } from '../confusion/class-columns.js';
import { heaviest, packMasses } from './bounds.js';
import { confusionInsideEach, summariseSubsets } from './subset-summary.js';
import { fixedSizeSubsets, partitionSubsets, type Subset } from './subsets.js';
import { readSubsets, writeSubsets } from './subsets-file.js';

/** The agreement of two labellings, 1 for the same partition and 0 on average for random ones. */
function adjustedRandIndex(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const pairs = (counts: Iterable<number>) => [...counts].reduce((sum, n) => sum + (n * (n - 1)) / 2, 0);
  const count = (keys: readonly (string | number)[]) => {
    const counts = new Map<string | number, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts.values();
  };
  const [rows, columns] = [pairs(count(Array.from(a))), pairs(count(Array.from(b)))];
  const both = pairs(count(Array.from(a, (label, k) => `${label} ${b[k]}`)));
  const expected = (rows * columns) / ((a.length * (a.length - 1)) / 2);
  return (both - expected) / ((rows + columns) / 2 - expected);
}

function labelsOf(subsets: readonly Subset[], classes: number): Int32Array {
  const labels = new Int32Array(classes).fill(-1);
  for (const { id, classes: members } of subsets) for (const label of members) labels[label] = id;
  return labels;
}

const groups = 12;
const groupSize = 10;
const classes = groups * groupSize + 6; // the last six are never confused
const groupOf = (label: number) => (label < groups * groupSize ? label % groups : -1);

/** A generalist that takes a class for others of its group, and now and then for any other. */
function plantedPredictions(): PredictionBatch {
  const random = createRandom(21, 'planted');
  const examples = 40 * classes;
  const dense = new Float32Array(examples * classes);
  const labels = Int32Array.from({ length: examples }, (_, example) => example % classes);
  labels.forEach((label, example) => {
    const row = dense.subarray(example * classes, (example + 1) * classes);
    row[label] = 0.6;
    if (groupOf(label) < 0) return;
    for (let k = 0; k < 3; k++) row[groupOf(label) + groups * random.below(groupSize)] += 0.11;
    row[random.below(groups * groupSize)] += 0.05;
  });
  return { probabilities: csrFromDense(dense, examples, classes), labels };
}

const batch = plantedPredictions();
const truth = Array.from({ length: groups * groupSize }, (_, label) => groupOf(label));
const affinities: Record<string, CsrMatrix> = {
  covariance: await covarianceAffinity([batch]),
  soft: await confusionAffinity([batch]),
};

describe.each(Object.keys(affinities))('planted groups in the %s matrix', (name) => {
  const affinity = affinities[name];

  test.each(['cosine', 'euclidean'] as const)('are found as a partition, %s', (distance) => {
    const options = { clusters: groups, minSize: 8, maxSize: 12, seed: 1, distance };
    const subsets = partitionSubsets(affinity, options);
    const found = labelsOf(subsets, classes).subarray(0, truth.length);
    expect(adjustedRandIndex(found, truth)).toBeGreaterThan(0.98);
    expect(partitionSubsets(affinity, options)).toEqual(subsets);
    // A class that nothing is confused with is the least typical of its subset.
    for (const { classes: members } of subsets) {
      const firstAlone = members.findIndex((label) => groupOf(label) < 0);
      if (firstAlone >= 0) expect(members.slice(firstAlone).every((label) => groupOf(label) < 0)).toBe(true);
    }
  });

  test('are found as subsets of a fixed size', () => {
    const subsets = fixedSizeSubsets(affinity, { specialists: groups, size: groupSize, seed: 1 });
    for (const { classes: members } of subsets) {
      expect(members.length).toBe(groupSize);
      expect(new Set(members.map(groupOf)).size).toBe(1);
    }
    expect(new Set(subsets.map(({ classes: members }) => groupOf(members[0]))).size).toBe(groups);
  });

  test('are summarised', () => {
    const subsets = partitionSubsets(affinity, { clusters: groups, minSize: 8, maxSize: 12, seed: 1 });
    const summary = summariseSubsets(subsets, affinity);
    expect(summary.coverage).toBe(1);
    expect(summary.sizes.least).toBeGreaterThanOrEqual(8);
    expect(summary.sizes.most).toBeLessThanOrEqual(12);
    expect(summary.confusionInside).toBeGreaterThan(0.8);
    const mixed = subsets.map(({ id }) => ({
      id,
      classes: [...Array(classes).keys()].filter((label) => Math.floor(label / groupSize) === id),
    }));
    expect(summariseSubsets(mixed, affinity).confusionInside).toBeLessThan(0.2);
    expect(summariseSubsets(mixed, affinity).inertia).toBeGreaterThan(2 * summary.inertia);
  });
});

test('the summary of a small matrix is what one counts by hand', () => {
  // 0 and 1 confused with 6 and 2, 1 and 2 with 2, 2 and 3 with -1 (no confusion); 3 is in no subset.
  const affinity = csrFromDense([50, 6, 0, 0, 2, 50, 1, 0, 0, 1, 50, -1, 0, 0, 0, 50], 4, 4);
  const subsets = [
    { id: 0, classes: [0, 1] },
    { id: 1, classes: [2] },
  ];
  const summary = summariseSubsets(subsets, affinity, { distance: 'euclidean' });
  expect(summary).toMatchObject({ subsets: 2, sizes: { least: 1, median: 1.5, most: 2 }, coverage: 0.75 });
  // Of the classes: (6 + 2) / 2 = 4, 4 + (1 + 1) / 2 = 5, 1 and 0.
  expect(summary.masses.most).toBeCloseTo(9 / 10, 12);
  expect(summary.masses.least).toBeCloseTo(1 / 10, 12);
  expect(summary.confusionInside).toBeCloseTo(8 / 10, 12);
  // Of the 9 of 0 and 1, all but the 1 with 2; that of 2 is with others alone.
  const [first, second] = confusionInsideEach(subsets, classColumns(affinity));
  expect(first).toBeCloseTo(8 / 9, 12);
  expect(second).toBe(0);
  // Columns of 0 and 1: (4, 4, 0, 0) and (4, 4, 1, 0), 0.5 from their mean in one coordinate.
  expect(summary.inertia).toBeCloseTo(0.5, 6);
});

test('no share is above 1, in whatever order its sum is rounded', () => {
  const masses = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 81, maxLength: 81 });
  const order = fc.shuffledSubarray([...Array(9).keys()], { minLength: 9 });
  fc.assert(
    fc.property(masses, order, (dense, classes) => {
      const affinity = csrFromDense(dense, 9, 9);
      const subsets = [{ id: 0, classes }];
      const { confusionInside, masses: shares } = summariseSubsets(subsets, affinity);
      const [inside] = confusionInsideEach(subsets, classColumns(affinity));
      for (const share of [confusionInside, inside, shares.most])
        expect(share === 1 || share === 0).toBe(true);
    }),
  );
});

/** Any small sparse matrix, and a number of clusters and sizes that it can be cut into. */
const requests = fc
  .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), fc.nat(), fc.nat(), fc.nat())
  .chain(([size, k, a, b, seed]) => {
    const clusters = ((k - 1) % size) + 1;
    const value = fc.oneof(
      { weight: 4, arbitrary: fc.constant(0) },
      fc.float({ min: -1, max: 5, noNaN: true }),
    );
    return fc.record({
      affinity: fc
        .array(value, { minLength: size * size, maxLength: size * size })
        .map((dense) => csrFromDense(dense, size, size)),
      clusters: fc.constant(clusters),
      minSize: fc.constant(a % (Math.floor(size / clusters) + 1)),
      maxSize: fc.constant(Math.ceil(size / clusters) + (b % size)),
      seed: fc.constant(seed),
      distance: fc.constantFrom('cosine' as const, 'euclidean' as const),
    });
  });

test('a partition holds every class once, within the bounds, for any matrix', () => {
  fc.assert(
    fc.property(requests, ({ affinity, ...options }) => {
      const subsets = partitionSubsets(affinity, options);
      expect(subsets.map(({ id }) => id)).toEqual([...Array(options.clusters).keys()]);
      expect(subsets.flatMap((subset) => subset.classes).sort((a, b) => a - b)).toEqual([
        ...Array(affinity.rows).keys(),
      ]);
      for (const { classes: members } of subsets) {
        expect(members.length).toBeGreaterThanOrEqual(options.minSize);
        expect(members.length).toBeLessThanOrEqual(options.maxSize);
      }
      expect(summariseSubsets(subsets, affinity).confusionInside).toBeLessThanOrEqual(1);
    }),
  );
});

test('a partition balanced in confusion holds every class once, within the bounds of sizes and masses', () => {
  const any = fc.tuple(requests, fc.double({ min: 1, max: 3, noNaN: true }));
  fc.assert(
    fc.property(any, ([{ affinity, ...options }, maxMass]) => {
      const subsets = partitionSubsets(affinity, { ...options, maxMass });
      expect(subsets.flatMap((subset) => subset.classes).sort((a, b) => a - b)).toEqual([
        ...Array(affinity.rows).keys(),
      ]);
      for (const { classes: members } of subsets) {
        expect(members.length).toBeGreaterThanOrEqual(options.minSize);
        expect(members.length).toBeLessThanOrEqual(options.maxSize);
      }
      const { clusters, minSize, maxSize } = options;
      const masses = confusionMasses(classColumns(affinity));
      const all = masses.reduce((sum, mass) => sum + mass, 0);
      const reachable = heaviest(masses, packMasses(masses, clusters, { minSize, maxSize }), clusters);
      const most = summariseSubsets(subsets, affinity).masses.most * all;
      expect(most).toBeLessThanOrEqual(Math.max((maxMass * all) / clusters, reachable) * (1 + 1e-6));
    }),
  );
});

test('where few classes are confused much, balancing confusion spreads them over more subsets', () => {
  // 20 groups of 10 classes; in the first four a class is confused with its group 20 times as much as elsewhere, and
  // with the groups beside its own a little.
  const count = 200;
  const dense = new Float32Array(count * count);
  const random = createRandom(7, 'skewed');
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [Math.floor(i / 10), Math.floor(j / 10)];
      const strength = a < 4 && b < 4 ? 20 : 1;
      const near = a === b ? 1 : Math.abs(a - b) === 1 ? 0.2 : 0;
      dense[i * count + j] = dense[j * count + i] = strength * near * (0.5 + random.uniform());
    }
  }
  const affinity = csrFromDense([...dense], count, count);
  const options = { clusters: 8, minSize: 3, maxSize: 50, seed: 1 };
  const byClasses = summariseSubsets(partitionSubsets(affinity, options), affinity);
  const byConfusion = summariseSubsets(partitionSubsets(affinity, { ...options, maxMass: 1.5 }), affinity);
  expect(byConfusion.masses.most).toBeLessThanOrEqual(1.5 / 8 + 1e-6);
  expect(byClasses.masses.most).toBeGreaterThan(2 * byConfusion.masses.most);
  expect(byConfusion.masses.least).toBeGreaterThan(byClasses.masses.least);
  expect(byConfusion.sizes.most).toBeLessThanOrEqual(50);
  expect(byConfusion.confusionInside).toBeGreaterThan(0.5); // it is still what is confused that is together
});

test('subsets of a fixed size have that size and no class twice, for any matrix', () => {
  fc.assert(
    fc.property(requests, ({ affinity, clusters, maxSize, seed, distance }) => {
      const size = Math.min(maxSize, affinity.rows);
      const subsets = fixedSizeSubsets(affinity, { specialists: clusters, size, seed, distance });
      expect(subsets.length).toBe(clusters);
      for (const { classes: members } of subsets) {
        expect(members.length).toBe(size);
        expect(new Set(members).size).toBe(size);
      }
    }),
  );
});

test('renaming the classes renames the subsets', () => {
  const order = createRandom(3, 'rename').shuffle(Int32Array.from({ length: classes }, (_, label) => label));
  const dense = new Float32Array(classes * classes);
  const { offsets, indices, values } = affinities.covariance;
  for (let row = 0; row < classes; row++) {
    for (let k = offsets[row]; k < offsets[row + 1]; k++) {
      dense[order[row] * classes + order[indices[k]]] = values[k];
    }
  }
  const options = { clusters: groups, minSize: 8, maxSize: 12, seed: 1 };
  const before = labelsOf(partitionSubsets(affinities.covariance, options), classes);
  const after = labelsOf(partitionSubsets(csrFromDense(dense, classes, classes), options), classes);
  const renamed = truth.map((_, label) => after[order[label]]);
  expect(adjustedRandIndex(before.subarray(0, truth.length), renamed)).toBeGreaterThan(0.98);
});

test('one subset, and one for each class', () => {
  const affinity = affinities.covariance;
  const [only] = partitionSubsets(affinity, { clusters: 1, seed: 1 });
  expect(only.classes.toSorted((a, b) => a - b)).toEqual([...Array(classes).keys()]);
  const each = partitionSubsets(affinity, { clusters: classes, seed: 1, maxSize: 1 });
  expect(each.every(({ classes: members }) => members.length === 1)).toBe(true);
});

test('bounds that leave no partition are refused with those that would do', () => {
  const cut = (clusters: number, minSize: number, maxSize: number) => () =>
    partitionSubsets(affinities.covariance, { clusters, minSize, maxSize, seed: 1 });
  expect(cut(10, 13, 20)).toThrow(/10 subsets of at least 13 .* need 130 .* 126.*at most 12, or at most 9/);
  expect(cut(10, 1, 12)).toThrow(/10 subsets of at most 12 .* hold 120 .* 126.*at least 13, or at least 11/);
  expect(cut(127, 0, 12)).toThrow(/at most 126/);
  expect(cut(10, 1, 12.5)).toThrow(/maxSize .* 12.5/);
  expect(() => fixedSizeSubsets(affinities.covariance, { specialists: 2, size: 127, seed: 1 })).toThrow(
    /size from 1 to 126/,
  );
});

describe('subsets.json', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kd-spec-subsets-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('comes back as it was written', async () => {
    const path = join(folder, 'subsets.json');
    const content = {
      classes: 5,
      subsets: [
        { id: 0, classes: [4, 1] },
        { id: 7, classes: [1] },
      ],
    };
    await writeSubsets(path, content);
    expect(await readSubsets(path)).toEqual(content);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(content);
  });

  test.each([
    ['{', /not JSON/],
    ['{"classes": 3,\n"subsets": []\n"x": 1}', /not JSON \(line 3\)/],
    ['{"classes": 3}', /: subsets: expected a list, found nothing; write it again/],
    ['{"classes": "3", "subsets": []}', /: classes: expected a number, found "3";/],
    ['{"classes": 3, "subsets": [], "extra": 1}', /unknown key "extra"/],
    [
      '{"classes": 3, "subsets": [{"id": 0, "classes": [3]}]}',
      /subsets\[0\]\.classes: class 3, expected one below 3/,
    ],
    ['{"classes": 3, "subsets": [{"id": 0, "classes": [1, 1]}]}', /class 1 comes twice/],
    ['{"classes": 3, "subsets": [{"id": 0, "classes": [1]}, {"id": 0, "classes": [2]}]}', /id 0 comes twice/],
    ['{"classes": 3, "subsets": [{"id": 0, "classes": []}]}', /subsets\[0\]\.classes/],
  ])('%s is refused', async (text, message) => {
    const path = join(folder, 'bad.json');
    await writeFile(path, text);
    await expect(readSubsets(path)).rejects.toThrow(message);
    await expect(readSubsets(path)).rejects.toMatchObject({ code: 'subsets-invalid' });
  });

  test('a missing file is named', async () => {
    await expect(readSubsets(join(folder, 'none.json'))).rejects.toMatchObject({ code: 'not-found' });
  });
});
