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
import type { WeightPrecision } from '../models/onnx/stored-weights.js';

const comparedImages = 64; // unless it is told otherwise
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
  { weights = 'fp32', images = comparedImages }: { weights?: WeightPrecision; images?: number } = {},
): Promise<Comparison> {
  assert(ensemble.input.kind === 'images', 'a generalist predicts for images');
  const { image } = ensemble.input;
  const exported = await openExportedEnsemble(modelBytes(model), { path: 'the exported model' });
  try {
    const batch = await imagesOf(workspace, image, images);
    const expected = await ensemble.probabilities(batch);
    const found = await exported.probabilities(batch);
    let maxDifference = found.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
    for (let i = 0; i < expected.length; i++)
      maxDifference = Math.max(maxDifference, Math.abs(found[i] - expected[i]));
    if (weights !== 'fp32') {
      const validation = await accuracies(workspace, image, { ensemble, exported });
      return { images: batch.count, maxDifference, validation };
    }
    if (maxDifference < mostDifference) return { images: batch.count, maxDifference, validation: null };
    throw new KdSpecError(
      'fusion-input',
      `the exported model differs from the ensemble by ${maxDifference.toPrecision(2)} on ` +
        `${batch.count} images: this is a defect of kd-spec; nothing was written`,
    );
  } finally {
    exported.dispose();
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

async function imagesOf(workspace: string, image: ImageShape, count: number): Promise<ImageBatch> {
  const dataset = await openDataset(join(workspace, 'dataset')).catch(() => undefined);
  for await (const batch of dataset ? imageBatches(dataset.splits.test, image, { batchSize: count }) : []) {
    return batch;
  }
  const random = createRandom('export');
  const size = image.height * image.width * image.channels;
  const images = Float32Array.from({ length: count * size }, () => random.uniform());
  return { images, count };
}
