import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { imageBatches } from '../src/data/batches.js';
import { openDataset } from '../src/data/dataset.js';
import { loadEnsemble } from '../src/ensemble/ensemble.js';
import { openOnnxClassifier } from '../src/models/onnx/onnx-classifier.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

// Subsets that share classes under a rule that has no graph for them: test/slow/export.test.ts.
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const workspace = () => join(folder, 'kd-workspace');

test.each(['combine', 'share-inside', 'paper'])(
  'under the rule %s, the exported file, opened by its path, predicts what the ensemble predicts',
  async (rule) => {
    const partition = ['--clusters', '3', '--specialists', 'none', '--size', 'none'];
    const made = jsonOf(
      await kdSpec(['calibrate', '--rule', rule, '--no-select', ...partition, '--json'], { folder }),
    );
    expect(made.rule).toBe(rule);
    const output = jsonOf(await kdSpec(['export', '--out', 'ensemble.onnx', '--json'], { folder }));
    const schema = JSON.parse(
      await readFile(join(packageFolder(), 'docs', 'schemas', 'export.json'), 'utf8'),
    );
    expect(z.fromJSONSchema(schema).parse(output)).toEqual(output);
    expect(output).toMatchObject({ inputs: ['images'], outputs: ['probabilities', 'generalist'], rule });
    expect(output.maxDifference).toBeLessThan(1e-4);

    const dataset = await openDataset(join(workspace(), 'dataset'));
    const ensemble = await loadEnsemble(workspace(), { backend: 'wasm' });
    const exported = await openOnnxClassifier(join(folder, 'ensemble.onnx'));
    expect(exported.classes).toEqual(ensemble.classes);
    for (const batchSize of [1, 32]) {
      for await (const batch of imageBatches(dataset.splits.test, dataset.image, { batchSize })) {
        const [own, found] = [await ensemble.probabilities(batch), await exported.probabilities(batch)];
        const worst = own.reduce((most, value, at) => Math.max(most, Math.abs(value - found[at])), 0);
        expect(worst).toBeLessThan(1e-4);
        break;
      }
    }
    ensemble.dispose();
    exported.dispose();
  },
);

test('without a file to write to it is a usage error', async () => {
  expect((await kdSpec(['export'], { folder })).stderr).toMatch(/--out FILE/);
});
