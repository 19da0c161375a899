import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../compute/backend.js';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset } from '../../data/dataset.js';
import { type CalibrationExample, calibrate } from '../../ensemble/calibration/calibration.js';
import { type Consultation, consult } from '../../ensemble/consult.js';
import { loadSpecialists } from '../../ensemble/ensemble.js';
import { ensembleFileName } from '../../ensemble/ensemble-file.js';
import { activeSpecialists, indexMembership } from '../../ensemble/routing.js';
import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import { loadGeneralist } from '../../models/checkpoint.js';
import type { StageContext } from '../stage.js';

const batchSize = 128; // images a forward pass
const storedTop = 50; // of the generalist's classes that calibration keeps for an example, beside the active subsets
const maxExamples = 20_000; // bounds the memory of the fit

/** Chooses, on validation, temperatures, weights, the fusion rule and which specialists are kept. */
export async function calibrateEnsemble(context: StageContext): Promise<JsonObject> {
  const { settings, directory, log } = context;
  const { routingTop, rule, calibrate: fit, select } = settings.ensemble;
  context.usesBackend((await selectBackend(settings.backend)).name);
  const examples = await validationExamples(context);
  const { specialists, classes } = examples;
  log.info(`calibrating on ${examples.list.length.toLocaleString('en')} validation images`);
  const calibration = calibrate(examples.list, specialists, classes, { rule, fit, select });
  await writeJsonAtomically(join(directory, ensembleFileName), {
    routingTop,
    ...structuredClone(calibration),
    specialists: calibration.specialists.map((specialist) => ({ ...specialist })),
  });
  const kept = calibration.specialists.filter((specialist) => specialist.kept).length;
  return {
    rule: calibration.rule,
    specialists: specialists.length,
    kept,
    generalistTemperature: calibration.generalistTemperature,
    weight: calibration.specialists[0]?.weight ?? null,
    examples: calibration.examples,
    generalist: { ...calibration.generalist },
    ensemble: { ...calibration.ensemble },
  };
}

/** What generalist and specialists say about the validation images, at temperature 1. */
async function validationExamples(context: StageContext) {
  const { log, signal, settings } = context;
  const { splits, image, classes } = await openDataset(context.input('dataset'));
  const generalist = await loadGeneralist(context.input('generalist'));
  const specialists = await loadSpecialists(context.input('specialists'), generalist);
  const configs = specialists.map(({ config }) => config);
  const membership = indexMembership(configs, classes.length);
  const split = splits.validation;
  const total = Math.min(split.rows, maxExamples);
  const progress = log.progress('answers for validation', total);
  const list: CalibrationExample[] = [];
  try {
    for await (const { images, labels } of imageBatches(split, image, { batchSize })) {
      if (signal.aborted)
        throw new KdSpecError('interrupted', `calibration: stopped after ${list.length} images`);
      const input = tf.tensor4d(images, [labels.length, image.height, image.width, image.channels]);
      const consultations = await consult(generalist, specialists, input, (logits) =>
        activeSpecialists(logits, membership, { top: settings.ensemble.routingTop }),
      );
      input.dispose();
      for (const [row, consultation] of consultations.entries()) {
        list.push(toExample(labels[row], consultation, configs));
      }
      progress.update(list.length);
      if (list.length >= maxExamples) break;
    }
  } finally {
    generalist.dispose();
    for (const { network } of specialists) network.dispose();
  }
  progress.finish();
  return { list, specialists: configs, classes: classes.length };
}

/** Keeps the generalist's first classes and those of the active subsets; calibration spreads the rest evenly. */
function toExample(
  label: number,
  { generalist: logits, specialists }: Consultation,
  configs: readonly { readonly classes: readonly number[] }[],
): CalibrationExample {
  const probabilities = softmax(logits);
  const stored = new Set(topK(probabilities, storedTop).indices);
  for (const { specialist } of specialists)
    for (const index of configs[specialist].classes) stored.add(index);
  const indices = Int32Array.from(stored);
  return {
    label,
    generalist: {
      classes: indices,
      probabilities: Float32Array.from(indices, (index) => probabilities[index]),
    },
    specialists: specialists.map(({ specialist, logits: answer }) => ({
      specialist,
      probabilities: softmax(answer),
    })),
  };
}
