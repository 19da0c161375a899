import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createFeatureWriter,
  type FeatureReadOptions,
  type Features,
  readFeatures,
} from './feature-shards.js';

const width = 3;
const rowCount = 1100;
let root: string;
let cached: Features;

/** Row r holds r, r / 2, -r and belongs to class r mod 5. */
const featuresOf = (row: number) => [row, row / 2, -row];
const labelOf = (row: number) => row % 5;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-features-'));
  const writer = await createFeatureWriter(root, { width, shardBytes: 8000 });
  for (let start = 0; start < rowCount; start += 400) {
    const rows = Array.from({ length: Math.min(400, rowCount - start) }, (_, index) => start + index);
    await writer.write({
      features: Float32Array.from(rows.flatMap(featuresOf)),
      labels: Int32Array.from(rows, labelOf),
    });
  }
  const shards = await writer.close();
  expect(shards.length).toBeGreaterThan(1);
  cached = await readFeatures(root);
});
afterAll(() => rm(root, { recursive: true }));

async function rowsOf(options: FeatureReadOptions): Promise<number[]> {
  const seen: number[] = [];
  for await (const { features, labels, rows } of cached.batches(options)) {
    expect(features).toEqual(Float32Array.from(Array.from(rows).flatMap(featuresOf)));
    expect(labels).toEqual(rows.map(labelOf));
    seen.push(...rows);
  }
  return seen;
}

test('rows come back with their labels, in the written order or permuted by seed', async () => {
  const everyRow = Array.from({ length: rowCount }, (_, row) => row);
  expect(cached).toMatchObject({ width, rows: rowCount });
  expect(await rowsOf({ batchSize: 64 })).toEqual(everyRow);
  const shuffled = await rowsOf({ batchSize: 64, shuffleSeed: [1], bufferRows: 600 });
  expect(shuffled).not.toEqual(everyRow);
  expect(shuffled.toSorted((a, b) => a - b)).toEqual(everyRow);
  expect((await rowsOf({ batchSize: 64, dropLast: true })).length).toBe(1088);
});

test('skipped batches are a prefix and keep is a filter of the same order', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 0, max: 5 }),
    fc.subarray([0, 1, 2, 3, 4]),
    async (batchSize, skipBatches, labels) => {
      const order = { batchSize, shuffleSeed: ['s', batchSize], bufferRows: 600 };
      const keep = (label: number) => labels.includes(label);
      const wanted = (await rowsOf(order)).filter((row) => keep(labelOf(row)));
      expect(await rowsOf({ ...order, keep, skipBatches })).toEqual(wanted.slice(batchSize * skipBatches));
    },
  );
  await fc.assert(property, { numRuns: 15 });
});

test('keep is asked once for each row, in order, with its label', async () => {
  const asked: number[] = [];
  const keep = (label: number, row: number) => {
    expect(label).toBe(labelOf(row));
    asked.push(row);
    return row % 3 === 0;
  };
  const order = { batchSize: 64, shuffleSeed: ['s'], bufferRows: 600 };
  const everyRow = await rowsOf(order);
  expect(await rowsOf({ ...order, keep })).toEqual(everyRow.filter((row) => row % 3 === 0));
  expect(asked).toEqual(everyRow);
});
