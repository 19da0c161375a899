import fc from 'fast-check';
import { Matrix } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { csrFromDense, csrToDense } from '../../../test/support/dense-matrix.js';
import type { PredictionBatch } from '../../data/predictions.js';
import { selectCsrRows } from '../../math/csr.js';
import { confusionAffinity, covarianceAffinity } from './affinity.js';

/** Random top-k rows over a few classes, with labels, cut into batches of three. */
const predictions = fc
  .integer({ min: 1, max: 6 })
  .chain((classes) =>
    fc.array(
      fc.tuple(
        fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 })), {
          minLength: classes,
          maxLength: classes,
        }),
        fc.nat({ max: classes - 1 }),
      ),
      { minLength: 1, maxLength: 15 },
    ),
  )
  .map((rows) => {
    // Mass outside the top k is missing: rows sum to less than 1.
    const dense = rows.map(([row]) => row.map((x) => x / (row.reduce((a, b) => a + b, 0) + 2)));
    return { dense, labels: rows.map(([, label]) => label), classes: dense[0].length };
  });

function batchesOf({ dense, labels, classes }: { dense: number[][]; labels: number[]; classes: number }) {
  const all = csrFromDense(dense.flat(), dense.length, classes);
  const batches: PredictionBatch[] = [];
  for (let start = 0; start < dense.length; start += 3) {
    const part = labels.slice(start, start + 3);
    const rows = part.map((_, row) => start + row);
    batches.push({ probabilities: selectCsrRows(all, rows), labels: Int32Array.from(part) });
  }
  return batches;
}

test('the covariance equals the dense one wherever classes were predicted together, and the rest is -mean mean', async () => {
  await fc.assert(
    fc.asyncProperty(predictions, async (sample) => {
      const p = new Matrix(sample.dense);
      const together = p.transpose().mmul(p).div(p.rows);
      const mean = Matrix.rowVector(p.mean('column'));
      const product = mean.transpose().mmul(mean);
      const expected = together.clone().sub(product);
      const found = csrToDense(await covarianceAffinity(batchesOf(sample)));
      for (let i = 0; i < sample.classes; i++) {
        for (let j = 0; j < sample.classes; j++) {
          const value = found[i * sample.classes + j];
          if (together.get(i, j) > 0) expect(value).toBeCloseTo(expected.get(i, j), 6);
          else expect(expected.get(i, j) - value).toBeCloseTo(-product.get(i, j), 12);
        }
      }
    }),
  );
});

test('the confusion matrices equal the ones counted row by row', async () => {
  await fc.assert(
    fc.asyncProperty(predictions, async (sample) => {
      const { classes } = sample;
      const soft = Matrix.zeros(classes, classes);
      const hard = Matrix.zeros(classes, classes);
      sample.dense.forEach((row, example) => {
        const label = sample.labels[example];
        const count = sample.labels.filter((other) => other === label).length;
        row.forEach((mass, j) => {
          soft.set(label, j, soft.get(label, j) + mass / count);
        });
        const best = row.indexOf(Math.max(...row));
        if (row[best] > 0) hard.set(label, best, hard.get(label, best) + 1);
      });
      const foundSoft = csrToDense(await confusionAffinity(batchesOf(sample)));
      soft.to1DArray().forEach((value, k) => {
        expect(foundSoft[k]).toBeCloseTo(value, 6);
      });
      const foundHard = csrToDense(await confusionAffinity(batchesOf(sample), { kind: 'hard' }));
      expect([...foundHard]).toEqual(hard.to1DArray());
    }),
  );
});

test('renaming the classes renames rows and columns', async () => {
  await fc.assert(
    fc.asyncProperty(predictions, fc.infiniteStream(fc.nat()), async (sample, keys) => {
      const { classes } = sample;
      const order = Array.from({ length: classes }, (_, label) => ({ label, key: keys.next().value }));
      const names = order.sort((a, b) => a.key - b.key).map(({ label }) => label); // new -> old
      const renamed = {
        classes,
        dense: sample.dense.map((row) => names.map((old) => row[old])),
        labels: sample.labels.map((label) => names.indexOf(label)),
      };
      for (const make of [covarianceAffinity, confusionAffinity]) {
        const before = csrToDense(await make(batchesOf(sample)));
        const after = csrToDense(await make(batchesOf(renamed)));
        names.forEach((oldRow, row) => {
          names.forEach((oldColumn, column) => {
            expect(after[row * classes + column]).toBe(before[oldRow * classes + oldColumn]);
          });
        });
      }
    }),
  );
});

test('a row keeps its largest entries', async () => {
  const batches = batchesOf({ dense: [[0.1, 0.5, 0.05, 0.3]], labels: [2], classes: 4 });
  const cut = await confusionAffinity(batches, { entriesPerClass: 2 });
  expect([...cut.indices]).toEqual([1, 3]);
});

describe('bad predictions are refused with the row and what is wrong', () => {
  const row = (indices: number[], values: number[], columns = 3) => ({
    rows: 1,
    columns,
    offsets: Int32Array.of(0, indices.length),
    indices: Int32Array.from(indices),
    values: Float32Array.from(values),
  });
  const good = { probabilities: row([0], [1]), labels: Int32Array.of(1) };
  const cases: [string, PredictionBatch[], RegExp][] = [
    ['none', [], /there are none/],
    [
      'another number of classes',
      [good, { ...good, probabilities: row([0], [1], 4) }],
      /row 1 .* 4 classes .* 3/,
    ],
    [
      'a class out of range',
      [good, { ...good, probabilities: row([3], [1]) }],
      /row 1 .* class 3, .* 0 to 2/,
    ],
    ['a class twice', [{ ...good, probabilities: row([1, 1], [0.5, 0.5]) }], /row 0 .* class 1 twice/],
    ['not a number', [{ ...good, probabilities: row([1], [Number.NaN]) }], /row 0 .* probability NaN/],
    ['negative', [{ ...good, probabilities: row([1], [-0.5]) }], /row 0 .* probability -0.5/],
    ['a sum above 1', [{ ...good, probabilities: row([0, 1], [0.9, 0.9]) }], /row 0 .* sum to 1.8/],
    ['a label out of range', [{ ...good, labels: Int32Array.of(7) }], /row 0 .* label 7/],
    ['too few labels', [{ ...good, labels: new Int32Array(0) }], /1 rows with 0 labels/],
    ['no labels', [{ ...good, labels: undefined }], /row 0 .* has no label/],
  ];
  test.each(cases)('%s', async (_, batches, message) => {
    await expect(confusionAffinity(batches)).rejects.toThrow(message);
    await expect(confusionAffinity(batches)).rejects.toMatchObject({ code: 'predictions-invalid' });
  });
  test('but the covariance needs no labels', async () => {
    await expect(covarianceAffinity([{ ...good, labels: undefined }])).resolves.toMatchObject({ rows: 3 });
  });
});
