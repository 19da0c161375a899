import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { modelBytes } from '../../src/ensemble/export/export-onnx.js';
import { openExportedEnsemble } from '../../src/ensemble/export/exported-ensemble.js';
import { openSession } from '../../src/models/onnx/runtime.js';
import { type ExportedCase, exportedCases, imagesFor } from '../support/exported-ensembles.js';
import { testSetCases } from '../support/test-set-ensembles.js';

let folder: string;
let cases: readonly ExportedCase[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-exported-'));
  cases = await exportedCases((await selectBackend('wasm')).operations, folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('exported ensembles predict and trace what they predict in networks, for one image and for several', async () => {
  for (const { name, ensemble, model } of cases) {
    const exported = await openExportedEnsemble(modelBytes(model), { path: name });
    const { height, channels } = model.feed.form.image;
    for (const count of [1, 16]) {
      const batch = imagesFor(height, channels, count);
      const [expected, found] = [await ensemble.trace(batch), await exported.trace(batch)];
      expect(found).toHaveLength(count);
      for (const [image, trace] of expected.entries()) {
        for (const who of ['generalist', 'ensemble'] as const)
          expectNear(found[image][who], trace[who], `${who} of ${name}`);
        const queried = found[image].specialists;
        expect(queried.map(({ position }) => position)).toEqual(
          trace.specialists.map(({ position }) => position),
        );
        for (const [place, { probabilities, correction }] of trace.specialists.entries()) {
          expectNear(queried[place].probabilities, probabilities, `specialist of ${name}`);
          expect(queried[place].correction).toBe(correction);
        }
      }
    }
    exported.dispose();
  }
});

test('session.run over all test images of pipelines finds what their ensembles predict', async () => {
  for (const { name, ensemble, model, images, reference } of await testSetCases(folder)) {
    const { input, output, batches } = reference;
    const session = await openSession(modelBytes(model), { name });
    expect(batches, name).toHaveLength(images + Math.ceil(images / 64));
    for (const { shape, data, expected } of batches) {
      const tensor = { type: 'float32', data: Float32Array.from(data), shape } as const;
      const found = (await session.run({ [input]: tensor }, [output])).get(output);
      expectNear(found?.values ?? [], expected, name);
    }
    session.dispose();
    ensemble.dispose();
  }
});

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let at = 0; at < expected.length; at++)
    expect(Math.abs(actual[at] - expected[at]), what).toBeLessThan(1e-4);
}
