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

test('skipped batches are a prefix of the same order', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 0, max: 5 }),
    fc.constantFrom(300, 600, 5000),
    async (batchSize, skipBatches, bufferRows) => {
      const order = { batchSize, shuffleSeed: ['s', batchSize], bufferRows };
      const all = await rowsOf(order);
      expect(await rowsOf({ ...order, skipBatches })).toEqual(all.slice(batchSize * skipBatches));
    },
  );
  await fc.assert(property, { numRuns: 15 });
});

test('what fits in one buffer is read once: later passes need no file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-features-'));
  const writer = await createFeatureWriter(folder, { width });
  const features = Float32Array.from(Array.from({ length: 600 }, (_, row) => featuresOf(row)).flat());
  await writer.write({ features, labels: new Int32Array(600) });
  await writer.close();
  const held = await readFeatures(folder);
  const pass = async (shuffleSeed: readonly number[], bufferRows: number) => {
    const seen: number[] = [];
    for await (const { rows } of held.batches({ batchSize: 50, shuffleSeed, bufferRows })) seen.push(...rows);
    return seen;
  };
  const [first, second] = [await pass([1], 600), await pass([2], 600)];
  await rm(folder, { recursive: true });
  expect(await pass([1], 600)).toEqual(first);
  expect(await pass([2], 600)).toEqual(second);
  expect(second).not.toEqual(first);
});

test('every batch is written into the memory that was given', async () => {
  const into = { features: new Float32Array(64 * width), labels: new Int32Array(64) };
  let seen = 0;
  const options = { batchSize: 64, shuffleSeed: [1], bufferRows: 600, dropLast: true, into };
  for await (const { features, labels, rows } of cached.batches(options)) {
    expect(features).toBe(into.features);
    expect(labels).toBe(into.labels);
    expect(features).toEqual(Float32Array.from(Array.from(rows).flatMap(featuresOf)));
    seen += rows.length;
  }
  expect(seen).toBe(1088);
});
