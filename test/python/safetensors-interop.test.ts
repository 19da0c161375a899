import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readPredictions } from '../../src/data/predictions.js';
import { covarianceAffinity } from '../../src/ensemble/confusion/affinity.js';
import { readSafetensors } from '../../src/models/safetensors.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';

/** The interpreter of an environment with `safetensors`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;

describe.skipIf(!python)("Python's safetensors", () => {
  let workspace: string;
  beforeAll(async () => {
    workspace = join(tinyFolder(), 'kd-workspace');
  });

  function ask(command: string, path: string) {
    const script = join(import.meta.dirname, 'safetensors_interop.py');
    return JSON.parse(
      execFileSync(python ?? '', [script, command, path], { encoding: 'utf8', maxBuffer: 2 ** 28 }),
    );
  }

  test.each(['generalist', 'specialists/0'])(
    'opens the checkpoint in %s, equal in every value',
    async (folder) => {
      const path = join(workspace, folder, 'model.safetensors');
      const ours = await readSafetensors(path);
      expect(ours.size).toBeGreaterThan(2);
      expect(ours.has('head.weights')).toBe(true);
      const theirs = ask('checkpoint', path);
      expect(Object.keys(theirs).sort()).toEqual([...ours.keys()].sort());
      for (const [name, { shape, values }] of ours) {
        expect(theirs[name], name).toEqual({
          type: 'float32',
          shape: [...shape],
          values: Array.from(values),
        });
      }
    },
  );

  test('opens the affinity matrix, which is the covariance of the predictions', async () => {
    const { rows, columns, dense } = ask('affinity', join(workspace, 'subsets', 'affinity.safetensors'));
    const predictions = await readPredictions(join(workspace, 'predictions'));
    const expected = await covarianceAffinity(predictions.rows());
    expect({ rows, columns }).toEqual({ rows: 60, columns: 60 });
    const table = Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
    for (let row = 0; row < rows; row++) {
      for (let entry = expected.offsets[row]; entry < expected.offsets[row + 1]; entry++) {
        table[row][expected.indices[entry]] = Math.fround(expected.values[entry]);
      }
    }
    expect(dense).toEqual(table);
    expect(expected.indices.length).toBeGreaterThan(rows);
  });
});
