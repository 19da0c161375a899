import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { readManifest } from '../../core/artefact.js';
import { assert, KdSpecError } from '../../core/errors.js';
import { imageBatches } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { classesName } from '../../data/dataset-files.js';
import { checkpointFiles, writeConfig } from '../../models/checkpoint.js';
import { countParameters, forwardFlops } from '../../models/network-definition.js';
import { readExportedMetadata } from '../../models/onnx/exported-metadata.js';
import { describeOnnx, importOnnx } from '../../models/onnx/import-onnx.js';
import { describeRuntime } from '../../models/onnx/runtime.js';
import type { CheckImages } from '../../models/onnx/self-check.js';
import { writeSafetensors } from '../../models/safetensors.js';
import { patchedBefore } from '../checks/check.js';
import type { StageContext } from '../stage.js';
import { metricsOf, type StageResults } from '../stage-metrics.js';
import { refitImported } from './refit.js';

/** Labelled images on which the readings of a foreign model are compared: 3 points of standard error. */
const checkedImages = 256;
const slowMs = 60_000; // for all images: a faster runtime is worth a line
const checkedValues = 2 ** 28; // a gigabyte: of large images there are fewer

/** Makes an ONNX classifier the generalist: its graph before the head a backbone, its head a dense layer on that. */
export async function importGeneralist(context: StageContext): Promise<StageResults['generalist']> {
  const { settings, directory, log, signal } = context;
  const { model: options, imageSize } = settings.dataset;
  assert(options.onnx !== null, 'a model was named');
  context.usesBackend('onnxruntime');
  const dataset = await openDataset(context.input('dataset'));
  const described = await describeOnnx(options.onnx, { ...options, imageSize });
  const { head, input, classes, notes, warnings } = described;
  const isRefitted = settings.generalist.refit.share > 0;
  if (isRefitted && readExportedMetadata(described.model)) throw patchedBefore(described.model.path);
  const { metrics } = await readManifest(context.input('dataset'));
  const said = metricsOf('dataset', metrics)?.model?.notes ?? []; // when the data set was made
  for (const note of notes) if (!said.includes(note)) log.info(note);
  const images = await imagesToCheck(dataset, signal);
  const { operations } = await selectBackend(settings.backend);
  log.info(`trying the model on ${images.count} labelled images`);
  const { network, backbone, tensors, check } = await importOnnx(described, images, directory, {
    operations,
    signal,
  });
  for (const warning of [...warnings, ...check.warnings]) log.warn(warning);
  const { isNative, install } = describeRuntime();
  const rows = Object.values(dataset.splits).reduce((sum, split) => sum + split.rows, 0);
  if (!isNative && rows * check.imageMs > slowMs)
    log.info(`the model runs in WebAssembly; the native ONNX Runtime is several times as fast: ${install}`);
  await writeSafetensors(join(directory, checkpointFiles.model), tensors);
  await writeConfig(directory, { kind: 'generalist', network, backbone });
  await copyFile(join(dataset.directory, classesName), join(directory, classesName));
  const refit = isRefitted ? await refitImported(context) : undefined;
  const { normalisation, order } = check.chosen.reading;
  return {
    imported: {
      classes: network.outputs,
      classNames: classes.source,
      features: head.width,
      featureTensor: head.features,
      logits: head.output,
      outputHolds: head.outputHolds,
      blank: classes.blank ?? null,
      input: {
        name: input.name,
        type: input.type,
        layout: input.layout,
        shape: [input.image.height, input.image.width, input.image.channels],
        order,
        mean: [...normalisation.mean],
        std: [...normalisation.deviation],
      },
      check: {
        examples: check.examples,
        top1: check.chosen.top1,
        readings: check.scores.map(({ reading: _, ...score }) => score),
      },
      notes: [...notes, ...warnings, ...check.warnings],
      ...(refit && { refit }),
    },
    epochs: 0,
    keptEpoch: 0,
    steps: 0,
    loss: check.chosen.negativeLogLikelihood,
    parameters: countParameters(network),
    flopsPerImage: forwardFlops(network),
    trainingFlops: refit?.flops ?? 0,
    trainingSeconds: refit?.seconds ?? 0,
  };
}

/**
 * The first labelled images, which come in an order that mixes classes: of validation, and where these are few, of
 * training as well, which has shown the model nothing yet.
 */
async function imagesToCheck({ splits, image }: Dataset, signal: AbortSignal): Promise<CheckImages> {
  const size = image.height * image.width * image.channels;
  const most = Math.max(1, Math.min(checkedImages, Math.floor(checkedValues / size)));
  const images = new Float32Array(most * size); // (most, height, width, channels)
  const labels = new Int32Array(most);
  let count = 0;
  for (const split of [splits.validation, splits.train]) {
    if (split.rows === 0 || count === most) continue;
    for await (const batch of imageBatches(split, image, { batchSize: most - count })) {
      if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before the model was tried');
      images.set(batch.images, count * size);
      labels.set(batch.labels, count);
      count += batch.count;
      break;
    }
  }
  if (count > 0)
    return { images: images.subarray(0, count * size), labels: labels.subarray(0, count), count };
  throw new KdSpecError(
    'dataset-invalid',
    'an imported model is tried on labelled images, and the data set has none: check --source',
  );
}
