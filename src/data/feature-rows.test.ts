import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFeatureRows } from './feature-rows.js';
import { createFeatureWriter } from './feature-shards.js';

const width = 3;
const rowCount = 1100;
let root: string;

const featuresOf = (row: number) => [row, row / 2, -row];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-rows-'));
  const writer = await createFeatureWriter(root, { width, shardBytes: 8000 });
  for (let start = 0; start < rowCount; start += 400) {
    const rows = Array.from({ length: Math.min(400, rowCount - start) }, (_, index) => start + index);
    await writer.write({
      features: Float32Array.from(rows.flatMap(featuresOf)),
      labels: Int32Array.from(rows, (row) => row % 5),
    });
  }
  expect((await writer.close()).length).toBeGreaterThan(1);
});
afterAll(() => rm(root, { recursive: true }));

test('any rows come out as they were written, over the bounds of batches and shards', async () => {
  using rows = await openFeatureRows(root);
  expect(rows.width).toBe(width);
  expect(rows.labels).toEqual(Int32Array.from({ length: rowCount }, (_, row) => row % 5));
  const picks = fc.array(fc.nat({ max: rowCount - 1 }), { maxLength: 80 });
  const property = fc.property(picks, fc.nat({ max: 2 }), (picked, gap) => {
    const wanted = picked.sort((a, b) => a - b);
    const into = new Float32Array(wanted.length * (width + gap)).fill(7);
    rows.read(wanted, into, width + gap);
    const between = new Array(gap).fill(7);
    expect(into).toEqual(Float32Array.from(wanted.flatMap((row) => [...featuresOf(row), ...between])));
  });
  fc.assert(property, { numRuns: 50 });
  const all = Array.from({ length: rowCount }, (_, row) => row); // whole batches in one read
  const into = new Float32Array(rowCount * width);
  rows.read(all, into);
  expect(into).toEqual(Float32Array.from(all.flatMap(featuresOf)));
});

test('a shard that becomes shorter while it is open is not read as zeros', async () => {
  using rows = await openFeatureRows(root);
  const [last] = (await readdir(root)).sort().reverse();
  await truncate(join(root, last), 100);
  expect(() => rows.read([rowCount - 1], new Float32Array(width))).toThrow(
    expect.objectContaining({ code: 'shard-truncated' }),
  );
});
