import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operations } from '../../src/compute/operations.js';
import { createRandom } from '../../src/core/random.js';
import { NetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { type ExportedModel, exportOnnx } from '../../src/ensemble/export/export-onnx.js';
import type { ExportedParts } from '../../src/ensemble/export/exported-parts.js';
import { createSpecialist, type Specialist } from '../../src/ensemble/specialist/specialist.js';
import { SpecialistNetworks } from '../../src/ensemble/specialist/specialist-networks.js';
import type { ImageBatch } from '../../src/models/classifier.js';
import { type Network, networkFromTensors, networkValues } from '../../src/models/network.js';
import { describeOnnx, importOnnx } from '../../src/models/onnx/import-onnx.js';
import { loadOnnxBackbone, readImportedModel } from '../../src/models/onnx/onnx-backbone.js';
import { toModelInput } from '../../src/models/onnx/reading.js';
import { colourModel, colourNames, size } from './colour-model.js';
import { dissentingSpecialists } from './dissenting-specialists.js';
import { scaleHead } from './operations.js';

/** An ensemble with its exported form. */
export interface ExportedCase {
  /** For a title and a file. */
  readonly name: string;
  readonly ensemble: NetworkEnsemble;
  readonly model: ExportedModel;
}

const rules = ['combine', 'share-inside', 'paper'] as const;
const batchSizes = [1, 64] as const;

/**
 * Ensembles under every rule, of subsets that share no class and of those that do, with generalists of our own and
 * imported ones, one of them a recogniser of steps.
 *
 * @param folder gets the files of the imported models
 */
export async function exportedCases(operations: Operations, folder: string): Promise<ExportedCase[]> {
  const own = {
    disjoint: [
      [0, 1, 2],
      [3, 4],
      [5, 6, 7, 8],
    ],
    overlapping: [
      [0, 1, 2, 3],
      [2, 3, 4],
      [3, 5, 6, 0],
    ],
  };
  const foreign = {
    disjoint: [
      [0, 1],
      [2, 3, 4],
    ],
    overlapping: [
      [0, 1, 2],
      [1, 2, 3],
      [2, 4, 5],
    ],
  };
  const cases: ExportedCase[] = [];
  for (const rule of rules) {
    for (const kind of ['disjoint', 'overlapping'] as const) {
      const random = createRandom('exported', rule, kind);
      const options = { outputs: 10, sureness: 3, dissent: -1.5 };
      const made = await dissentingSpecialists(operations, own[kind], random, options);
      const classes = Array.from({ length: options.outputs }, (_, c) => `class ${c}`);
      cases.push(await exported(`own-${rule}-${kind}`, { ...made, classes, rule }));
      for (const isSequence of [false, true]) {
        const name = `${isSequence ? 'steps' : 'colours'}-${rule}-${kind}`;
        cases.push(
          await importedCase(operations, join(folder, name), foreign[kind], { rule, name, isSequence }),
        );
      }
    }
  }
  return cases;
}

async function importedCase(
  operations: Operations,
  folder: string,
  subsets: readonly (readonly number[])[],
  { rule, name, isSequence }: { readonly rule: string; readonly name: string; readonly isSequence: boolean },
): Promise<ExportedCase> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'source.onnx');
  await writeFile(path, colourModel({ favours: { orange: 2 }, isSequence }));
  const described = await describeOnnx(path, {
    labels: null,
    layout: null,
    channelOrder: 'bgr',
    imageMean: [0],
    imageStd: [1 / 255],
    imageSize: null,
    blank: null,
    logits: null,
    features: null,
  });
  const { images, count } = imagesFor(size, 3, 4);
  const check = { images, count, labels: Int32Array.from({ length: count }, () => 0) };
  const { network, backbone, tensors } = await importOnnx(described, check, folder, { operations });
  const opened = await loadOnnxBackbone(folder, backbone);
  const generalist = networkFromTensors(operations, network, tensors, opened);
  const random = createRandom(name);
  const specialists: Specialist[] = [];
  for (const [id, classes] of subsets.entries()) {
    const weights = Float32Array.from({ length: 3 }, () => 0.01 * random.normal());
    const own = await createSpecialist(generalist, classes, { weights, bias: 0 });
    await scaleHead(own, 0.5 + id / 2);
    const dustbin = { specialExamples: 1, otherExamples: 3, sampledSpecialFraction: 0.5, correction: 1 };
    const config = {
      kind: 'specialist',
      id,
      classes,
      head: 'dustbin',
      retrain: 'top',
      network: own.definition,
      dustbin,
      firstDivergence: 0,
    } as const;
    specialists.push({ config, values: await networkValues(own) });
    own.dispose();
  }
  const imported = await readImportedModel(folder, backbone);
  const networks = new SpecialistNetworks(operations, specialists);
  return exported(name, { generalist, specialists: networks, classes: colourNames, rule, imported });
}

async function exported(
  name: string,
  {
    rule,
    ...parts
  }: Omit<ExportedParts, 'settings'> & { readonly generalist: Network; readonly rule: string },
): Promise<ExportedCase> {
  const { generalist, specialists, classes } = parts;
  const settings = {
    routingTop: 3,
    rule,
    ...(rule === 'combine' && { parameters: { dustbinTrust: 0.3 } }),
    generalistTemperature: 1.2,
    ...(rule === 'paper' && { labelNoise: 0.1 }),
    specialists: specialists.members.map((_, id) => ({
      id,
      temperature: 1.1,
      weight: 2,
      ...(rule !== 'paper' && { parameters: { massShift: 0.7 * id - 0.5 } }),
      kept: true,
    })),
  };
  const ensemble = new NetworkEnsemble(classes, generalist, specialists, settings);
  return { name, ensemble, model: await exportOnnx({ ...parts, settings }, { trace: true }) };
}

/** Images of patches of colour, the same at each call: (count, side, side, channels), in [0, 1]. */
export function imagesFor(side: number, channels: number, count: number): ImageBatch {
  const random = createRandom('images', side, channels);
  const images = new Float32Array(count * side * side * channels);
  for (let row = 0; row < count; row++) {
    const colour = Array.from({ length: channels }, () => random.uniform());
    for (let at = 0; at < side * side * channels; at++)
      images[row * side * side * channels + at] = Math.min(
        1,
        Math.max(0, colour[at % channels] + 0.1 * random.normal()),
      );
  }
  return { images, count };
}

/** What another program needs to run a case: the tensor that it feeds, and what the ensemble predicts, by batch. */
export async function referenceOf({ ensemble, model }: ExportedCase) {
  const { name: input, form, reading } = model.feed;
  const { height, channels } = form.image;
  const batches = [];
  for (const count of batchSizes) {
    const batch = imagesFor(height, channels, count);
    const { data, shape } = toModelInput(form, reading, batch.images, count);
    const expected = await ensemble.probabilities(batch);
    batches.push({ shape: [...shape], data: Array.from(data), expected: Array.from(expected) });
  }
  return { input, output: model.fused, batches };
}
