import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { createRandom } from '../core/random.js';
import { imageBatches } from '../data/batches.js';
import { openDataset } from '../data/dataset.js';
import type { ImageShape } from '../data/source.js';
import type { Ensemble, NetworkEnsemble } from '../ensemble/ensemble.js';
import { type ExportedModel, modelBytes } from '../ensemble/export/export-onnx.js';
import { openExportedEnsemble } from '../ensemble/export/exported-ensemble.js';
import { createAccuracy, predictEach } from '../models/accuracy.js';
import type { ImageBatch } from '../models/classifier.js';
import { isLarge } from '../models/onnx/model-file.js';
import { expectNative } from '../models/onnx/runtime.js';
import type { WeightPrecision } from '../models/onnx/stored-weights.js';
import { writeOnnxModel } from '../models/onnx/write-model.js';

const comparedAtOnce = 64; // images
const measuredImages = 2048; // of validation: one point of standard error at 50%
const mostDifference = 1e-3; // of a probability: more is a defect, not rounding

/** What became of the ensemble on its way into a file. */
export interface Comparison extends JsonObject {
  readonly images: number;
  readonly maxDifference: number;
  /** Top-1 of both on validation images, where rounded weights may cost some. */
  readonly validation: {
    readonly images: number;
    readonly ensemble: number;
    readonly exported: number;
  } | null;
}

/**
 * Compares a model with the ensemble: the greatest difference of a probability on test images or, without any, noise;
 * and, where weights were rounded, the accuracy of both on validation images.
 *
 * @throws KdSpecError `fusion-input` where they differ though nothing was rounded
 */
export async function compareExported(
  model: ExportedModel,
  ensemble: NetworkEnsemble,
  workspace: string,
  {
    weights = 'fp32',
    images = comparedAtOnce,
    signal,
  }: {
    readonly weights?: WeightPrecision;
    /** At least so many of those for the test, where there are so many. */
    readonly images?: number;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Comparison> {
  assert(ensemble.input.kind === 'images', 'a generalist predicts for images');
  const { image } = ensemble.input;
  const partial = join(workspace, '.partial', 'export');
  const exported = await openExported(model, partial);
  try {
    let [compared, maxDifference] = [0, 0];
    for await (const batch of imagesOf(workspace, image)) {
      if (signal?.aborted) throw new KdSpecError('interrupted', `stopped after ${compared} images`);
      const expected = await ensemble.probabilities(batch);
      const found = await exported.probabilities(batch);
      if (found.length !== expected.length) maxDifference = Number.POSITIVE_INFINITY;
      for (let i = 0; i < expected.length; i++)
        maxDifference = Math.max(maxDifference, Math.abs(found[i] - expected[i]));
      compared += batch.count;
      if (compared >= images) break;
    }
    if (weights !== 'fp32') {
      const validation = await accuracies(workspace, image, { ensemble, exported });
      return { images: compared, maxDifference, validation };
    }
    if (maxDifference < mostDifference) return { images: compared, maxDifference, validation: null };
    throw new KdSpecError(
      'fusion-input',
      `the exported model differs from the ensemble by ${maxDifference.toPrecision(2)} on ` +
        `${compared} images: this is a defect of kd-spec; nothing was written`,
    );
  } finally {
    exported.dispose();
    await rm(partial, { recursive: true, force: true });
  }
}

/** Opens a model as its file will be; one over 2 GB is a file with its weights beside it, in a folder. */
async function openExported(model: ExportedModel, folder: string): Promise<Ensemble> {
  if (!model.proto.graph || !isLarge(model.proto.graph))
    return openExportedEnsemble(modelBytes(model), { path: 'the exported model' });
  expectNative('the exported model');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    const path = join(folder, 'model.onnx');
    await writeOnnxModel(path, model.proto);
    return await openExportedEnsemble(await readFile(path), { path });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function accuracies(
  workspace: string,
  image: ImageShape,
  classifiers: { readonly ensemble: Ensemble; readonly exported: Ensemble },
): Promise<Comparison['validation']> {
  const { splits } = await openDataset(join(workspace, 'dataset'));
  const images = Math.min(splits.validation.rows, measuredImages);
  const top1 = async (classifier: Ensemble) => {
    const accuracy = createAccuracy();
    const batches = imageBatches(splits.validation, image, { batchSize: 128 });
    await predictEach(classifier, batches, accuracy.add, {
      signal: new AbortController().signal,
      maxRows: images,
    });
    return accuracy.result().top1;
  };
  return { images, ensemble: await top1(classifiers.ensemble), exported: await top1(classifiers.exported) };
}

/** Images for the test, or noise where there is none. */
async function* imagesOf(workspace: string, image: ImageShape): AsyncGenerator<ImageBatch> {
  const dataset = await openDataset(join(workspace, 'dataset')).catch(() => undefined);
  if (dataset !== undefined && dataset.splits.test.rows > 0) {
    yield* imageBatches(dataset.splits.test, image, { batchSize: comparedAtOnce });
    return;
  }
  const random = createRandom('export');
  const size = image.height * image.width * image.channels;
  const images = Float32Array.from({ length: comparedAtOnce * size }, () => random.uniform());
  yield { images, count: comparedAtOnce };
}
