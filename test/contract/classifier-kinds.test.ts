import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { openTeachers } from '../../src/distillation/teachers.js';
import { loadNetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { exportOnnx } from '../../src/ensemble/export/export-onnx.js';
import { exportedParts } from '../../src/ensemble/export/exported-parts.js';
import { loadEnsemble } from '../../src/ensemble/load-ensemble.js';
import type { ImageBatch } from '../../src/models/classifier.js';
import { loadNetworkClassifier } from '../../src/models/network-classifier.js';
import { openOnnxClassifier } from '../../src/models/onnx/onnx-classifier.js';
import { writeOnnxModel } from '../../src/models/onnx/write-model.js';
import { storedClassifier } from '../../src/models/stored-classifier.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';
import { classifierContract } from '../support/classifier-contract.js';
import { floats, modelFile, node } from '../support/onnx-models.js';

/** Every kind of classifier that comes from files, held to one contract on images of the tiny workspace. */
const backend = 'wasm';
const workspace = join(tinyFolder(), 'kd-workspace');
const predictions = join(workspace, 'predictions');
const count = 7;

let folder: string;
let classes: readonly string[];
let batch: ImageBatch;
let stored: number; // rows that predictions were stored for
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-classifiers-'));
  const dataset = await openDataset(join(workspace, 'dataset'));
  classes = dataset.classes;
  stored = dataset.splits.validation.rows;
  for await (const { images } of imageBatches(dataset.splits.validation, dataset.image, {
    batchSize: count,
  })) {
    batch = { images: images.slice(), count, rows: Int32Array.from({ length: count }, (_, row) => row) };
    break;
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const opened = async (...teachers: string[]) => {
  const image = (await openDataset(join(workspace, 'dataset'))).image;
  const surroundings = {
    workspace,
    backend,
    classes,
    image,
    transferRows: stored,
    transferLabels: async () => undefined,
    note: () => {},
    warn: () => {},
  } as const;
  return { classifier: await openTeachers(teachers, 'arithmetic', surroundings), batch };
};

classifierContract('a checkpoint', async () => {
  const { operations } = await selectBackend(backend);
  const directory = join(workspace, 'generalist');
  return {
    classifier: await loadNetworkClassifier(directory, operations, { name: 'the generalist' }),
    batch,
  };
});

classifierContract('the ensemble', () => opened('ensemble'));

classifierContract('the ensemble in ONNX Runtime', async () => ({
  classifier: await loadEnsemble(workspace, { backend, runtime: 'onnx' }),
  batch,
}));

classifierContract('an exported file', async () => {
  const networks = await loadNetworkEnsemble(workspace, { backend });
  const model = await exportOnnx(await exportedParts(networks, join(workspace, 'generalist')));
  networks.dispose();
  const path = join(folder, 'ensemble.onnx');
  await writeOnnxModel(path, model.proto);
  return { classifier: await loadEnsemble(path), batch };
});

classifierContract('the mean of a network and an ensemble', () => opened('generalist', 'ensemble'));

classifierContract('predictions in Arrow files', async () => ({
  classifier: await storedClassifier(predictions, { name: 'stored predictions', classes, rows: stored }),
  batch,
}));

classifierContract('an ONNX model', async () => {
  const [height, width, outputs] = [4, 5, 6];
  const random = createRandom('classifier kinds');
  const weights = Float32Array.from({ length: height * width * outputs }, () => random.normal());
  const path = join(folder, 'linear.onnx');
  const model = modelFile({
    input: ['n', 1, height, width],
    nodes: [node('Flatten', ['image'], ['flat']), node('MatMul', ['flat', 'weights'], ['logits'])],
    initializers: [floats('weights', [height * width, outputs], weights)],
    outputs: ['logits'],
  });
  await writeFile(path, model);
  const images = Float32Array.from({ length: 3 * height * width }, () => random.uniform());
  const fallbackClasses = Array.from({ length: outputs }, (_, index) => `class ${index}`);
  return { classifier: await openOnnxClassifier(path, { fallbackClasses }), batch: { images, count: 3 } };
});
