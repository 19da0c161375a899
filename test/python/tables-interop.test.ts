import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { featuresSource } from '../../src/data/importers/features.js';
import { parquetSource } from '../../src/data/importers/parquet.js';
import { webDatasetSource } from '../../src/data/importers/web-dataset.js';
import { splitNames } from '../../src/data/source.js';

/** The interpreter of an environment with `datasets`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;

describe.skipIf(!python)('what Python writes', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'kd-spec-tables-'));
    const env = { ...process.env, HF_HOME: join(root, 'cache'), HF_DATASETS_OFFLINE: '1' };
    const script = join(import.meta.dirname, 'tables_interop.py');
    execFileSync(python ?? '', [script, root], { env, stdio: 'ignore' });
  });
  afterAll(() => rm(root, { recursive: true }));

  const options = { imageSize: 8, seed: 1 };
  test.each([
    ['Parquet by datasets', () => parquetSource(root, options)],
    ['an archive by tarfile', () => webDatasetSource(join(root, 'shard.tar.gz'), options)],
    ['arrays by savez', () => featuresSource(join(root, 'stored.npz'), options)],
    ['arrays by savez_compressed', () => featuresSource(join(root, 'packed.npz'), options)],
    ['Feather by pandas, LZ4', () => featuresSource(join(root, 'lz4.feather'), options)],
    ['Feather by pandas, Zstandard', () => featuresSource(join(root, 'zstd.feather'), options)],
    ['an Arrow stream by pyarrow, LZ4', () => featuresSource(join(root, 'stream.arrow'), options)],
    ['Parquet by pyarrow, LZ4', () => featuresSource(join(root, 'packed', 'lz4.parquet'), options)],
    ['Parquet by pyarrow, Zstandard', () => featuresSource(join(root, 'packed', 'zstd.parquet'), options)],
  ])('%s: every row with its class', async (_, open) => {
    const source = await open();
    expect(source.classes).toEqual(['ash', 'b\u0153uf', '\u6905\u5b50']);
    const rows: number[] = [];
    for (const split of splitNames) {
      for await (const { pixels, label } of source.images(split)) {
        const row = source.image.isFeatures ? new Float32Array(pixels.slice().buffer)[0] : pixels[0];
        expect(label).toBe(row % 3);
        rows.push(row);
      }
    }
    expect(rows.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, row) => row));
  });
});
