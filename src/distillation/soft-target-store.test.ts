import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { softmax } from '../math/softmax.js';
import { createSoftTargetWriter, openSoftTargets } from './soft-target-store.js';
import { fullLogits, temperedTargets } from './soft-targets.js';

const classes = 30;
const rows = 700; // several record batches, and two parts
const split = 400;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-soft-targets-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

function logitsOf(row: number): Float32Array {
  const random = createRandom('answers', row);
  return Float32Array.from({ length: classes }, () => 3 * random.normal());
}

async function write(top: number): Promise<number> {
  let mass = 0;
  for (const [part, from, to] of [
    [0, 0, split],
    [1, split, rows],
  ]) {
    const writer = await createSoftTargetWriter(join(folder, `part-00000-0000${part}`), { classes, top });
    for (let row = from; row < to; row++) mass += await writer.write(logitsOf(row));
    await writer.close();
  }
  return mass / rows;
}

test('soft targets are found by row, in any order, as they were written', async () => {
  await write(classes);
  const store = await openSoftTargets(folder);
  try {
    expect(store).toMatchObject({ classes, rows, top: classes });
    const wanted = createRandom('order').shuffle(Int32Array.from({ length: rows }, (_, row) => row));
    const logits = fullLogits(await store.read(wanted), classes);
    for (const [position, row] of wanted.entries()) {
      const [found, expected] = [
        softmax(logits.subarray(position * classes, (position + 1) * classes)),
        softmax(logitsOf(row)),
      ];
      expected.forEach((value, index) => {
        expect(found[index]).toBeCloseTo(value, 5);
      });
    }
  } finally {
    await store.close();
  }
});

test.each([1, 2.7, 20])(
  'sparse targets at T = %d are exact for listed classes, and sum to the rest',
  async (temperature) => {
    const mass = await write(8);
    expect(mass).toBeGreaterThan(0.8);
    expect(mass).toBeLessThan(1);
    const store = await openSoftTargets(folder);
    try {
      const wanted = Int32Array.of(3, 450, 699);
      const { offsets, indices, values } = temperedTargets(await store.read(wanted), {
        temperature,
        classes,
      });
      for (const [position, row] of wanted.entries()) {
        const expected = softmax(logitsOf(row), { temperature });
        expect(offsets[position + 1] - offsets[position]).toBe(8);
        const least = Math.min(...values.subarray(offsets[position], offsets[position + 1]));
        for (let entry = offsets[position]; entry < offsets[position + 1]; entry++)
          expect(Math.abs(values[entry] / expected[indices[entry]] - 1)).toBeLessThan(0.01);
        const listed = new Set(indices.subarray(offsets[position], offsets[position + 1]));
        expected.forEach((value, index) => {
          if (!listed.has(index)) expect(value).toBeLessThanOrEqual(least * 1.01);
        });
      }
    } finally {
      await store.close();
    }
  },
);

test('files of something else are refused', async () => {
  const { createFeatureWriter } = await import('../data/feature-shards.js');
  const writer = await createFeatureWriter(join(folder, 'part-00000-00000'), { width: 2 });
  await writer.write({ features: Float32Array.of(1, 2), labels: Int32Array.of(0) });
  await writer.close();
  await expect(openSoftTargets(folder)).rejects.toMatchObject({ code: 'predictions-invalid' });
});
