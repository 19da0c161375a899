import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { modelBytes } from '../../src/ensemble/export/export-onnx.js';
import { exportedCases, referenceOf } from '../support/exported-ensembles.js';

/** The interpreter of an environment with `onnxruntime`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;

test.skipIf(!python)(
  "Python's onnxruntime predicts with exported files what the ensembles predict, alone and in batches",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kd-spec-onnx-'));
    try {
      const { operations } = await selectBackend('wasm');
      const cases = await exportedCases(operations, join(folder, 'sources'));
      for (const one of cases) {
        await writeFile(join(folder, `${one.name}.onnx`), modelBytes(one.model));
        await writeFile(join(folder, `${one.name}.json`), JSON.stringify(await referenceOf(one)));
        one.ensemble.dispose();
      }
      const script = join(import.meta.dirname, 'onnx_interop.py');
      const differences = JSON.parse(execFileSync(python ?? '', [script, folder], { encoding: 'utf8' }));
      expect(Object.keys(differences)).toEqual(cases.map(({ name }) => name).sort());
      for (const [name, difference] of Object.entries(differences))
        expect(difference, name).toBeLessThan(1e-4);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
