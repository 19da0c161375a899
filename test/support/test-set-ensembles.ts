import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { loadNetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { exportOnnx } from '../../src/ensemble/export/export-onnx.js';
import { exportedParts } from '../../src/ensemble/export/exported-parts.js';
import { toModelInput } from '../../src/models/onnx/reading.js';
import { jsonOf, kdSpec } from '../fixtures/command-line.js';
import { colourModel, colourNames, writePictures } from './colour-model.js';
import type { ExportedCase } from './exported-ensembles.js';

/** An ensemble that a pipeline trained, its exported form, and what it predicts for all of its test images. */
export interface TestSetCase extends ExportedCase {
  readonly images: number;
  /** What another program feeds, and what it is to find, in batches of 1 and of 64. */
  readonly reference: {
    readonly input: string;
    readonly output: string;
    readonly batches: readonly {
      readonly shape: readonly number[];
      readonly data: readonly number[];
      readonly expected: readonly number[];
    }[];
  };
}

const generalists = {
  own: ['--source', 'jft-like', '--classes', '40', '--images-per-class', '40', '--image-size', '12'],
  imported: ['--onnx', 'colours.onnx', '--source', 'pictures'],
} as const;
const training = ['--epochs', '2', '--convolutions', '8', '--dense', '16', '--specialist-epochs', '2'];
const kinds = {
  own: {
    disjoint: ['--clusters', '4', '--min-size', '2'],
    overlapping: ['--specialists', '6', '--size', '12'],
  },
  imported: {
    disjoint: ['--clusters', '2', '--min-size', '2'],
    overlapping: ['--specialists', '3', '--size', '4'],
  },
} as const;

/**
 * Pipelines for every rule, of subsets that share no class and of those that do, with a generalist that is trained and
 * one that is imported, whose test images nothing was made for here.
 *
 * @param folder gets sources and workspaces
 */
export async function testSetCases(folder: string): Promise<TestSetCase[]> {
  await writeFile(join(folder, 'colours.onnx'), colourModel({ favours: { orange: 6, blue: 9 } }));
  await writePictures(join(folder, 'pictures'), colourNames, { perLabel: 120 });
  const cases: TestSetCase[] = [];
  for (const generalist of ['own', 'imported'] as const)
    for (const kind of ['disjoint', 'overlapping'] as const)
      for (const rule of ['combine', 'share-inside', 'paper'] as const) {
        const workspace = join(folder, `${generalist}-${kind}`);
        const words = ['--workspace', workspace, ...kinds[generalist][kind], '--routing-top', '3'];
        if (generalist === 'own') words.push(...training);
        else words.push('--specialist-epochs', '10', '--channel-order', 'bgr');
        // Every specialist is kept: how graphs agree is the question, not whether validation wants them.
        const choices = ['--rule', rule, '--select', 'false', '--json'];
        jsonOf(await kdSpec(['calibrate', ...generalists[generalist], ...words, ...choices], { folder }));
        cases.push(await testSetCase(`${generalist}-${kind}-${rule}`, workspace));
      }
  return cases;
}

async function testSetCase(name: string, workspace: string): Promise<TestSetCase> {
  const ensemble = await loadNetworkEnsemble(workspace, { backend: 'wasm' });
  const model = await exportOnnx(await exportedParts(ensemble, join(workspace, 'generalist')));
  const { name: input, form, reading } = model.feed;
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  const batches: TestSetCase['reference']['batches'][number][] = [];
  for (const batchSize of [1, 64])
    for await (const { images, count } of imageBatches(splits.test, image, { batchSize })) {
      const { data, shape } = toModelInput(form, reading, images, count);
      const expected = await ensemble.probabilities({ images, count });
      batches.push({ shape: [...shape], data: Array.from(data), expected: Array.from(expected) });
    }
  const reference = { input, output: model.fused, batches };
  return { name, ensemble, model, images: splits.test.rows, reference };
}
