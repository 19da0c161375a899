import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fuzz, inputKinds } from './support/mutated-inputs.js';

test('damaged files of every kind are read or refused with a KdSpecError; scripts/fuzz.ts reads 10,000', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-mutated-'));
  try {
    let refused = 0;
    const kinds = await inputKinds(folder);
    for (const kind of kinds) {
      const outcome = await fuzz(kind, { runs: 12, seed: 20_150_309 });
      expect(outcome.defects, kind.name).toEqual([]);
      refused += outcome.refused;
    }
    expect(refused).toBeGreaterThan(50);

    // These once ended the process, by a rejection that nobody waited for.
    const parquet = kinds.filter(({ name }) => name === 'Parquet, UNCOMPRESSED');
    for (const kind of parquet)
      for (const first of [6233, 8713])
        expect(await fuzz(kind, { first, runs: 1, seed: 1 })).toMatchObject({ refused: 1, defects: [] });
    expect(parquet).toHaveLength(1);
    // And these had runs followed without end.
    const lists = kinds.filter(({ name }) => name === 'Parquet features');
    for (const kind of lists)
      for (const first of [1239, 9394])
        expect(await fuzz(kind, { first, runs: 1, seed: 1 })).toMatchObject({ refused: 1, defects: [] });
    expect(lists).toHaveLength(1);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
