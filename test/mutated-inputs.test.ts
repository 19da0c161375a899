import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { assert } from '../src/core/errors.js';
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
    // These had runs followed without end, and one has a column without a path.
    const found = { 'Parquet features': [1239, 9394], 'Parquet predictions of all classes': [6978, 8982] };
    for (const [name, runs] of Object.entries(found)) {
      const kind = kinds.find((one) => one.name === name);
      assert(kind !== undefined, `there is a kind ${name}`);
      for (const first of runs)
        expect(await fuzz(kind, { first, runs: 1, seed: 1 })).toMatchObject({ refused: 1, defects: [] });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
