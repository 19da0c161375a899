import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { modelBytes } from '../../src/ensemble/export/export-onnx.js';
import { type ExportedCase, exportedCases, referenceOf } from '../support/exported-ensembles.js';
import { testSetCases } from '../support/test-set-ensembles.js';

/** The interpreter of an environment with `onnxruntime`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;

test.skipIf(!python)(
  "Python's onnxruntime predicts with exported files what the ensembles predict, alone and in batches",
  async () => {
    const { operations } = await selectBackend('wasm');
    await expectAgreement(async (sources) => {
      const cases = [];
      for (const one of await exportedCases(operations, sources))
        cases.push({ ...one, reference: await referenceOf(one) });
      return cases;
    });
  },
);

test.skipIf(!python)('the same over the test images of pipelines', () => expectAgreement(testSetCases));

async function expectAgreement(
  makeCases: (sources: string) => Promise<readonly (ExportedCase & { readonly reference: object })[]>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-onnx-'));
  try {
    await mkdir(join(folder, 'sources'));
    const cases = await makeCases(join(folder, 'sources'));
    for (const { name, model, reference, ensemble } of cases) {
      await writeFile(join(folder, `${name}.onnx`), modelBytes(model));
      await writeFile(join(folder, `${name}.json`), JSON.stringify(reference));
      ensemble.dispose();
    }
    const script = join(import.meta.dirname, 'onnx_interop.py');
    const differences = JSON.parse(execFileSync(python ?? '', [script, folder], { encoding: 'utf8' }));
    expect(Object.keys(differences)).toEqual(cases.map(({ name }) => name).sort());
    for (const [name, difference] of Object.entries(differences)) expect(difference, name).toBeLessThan(1e-4);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
