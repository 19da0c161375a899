import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset, type Split } from '../../data/dataset.js';
import type { ImageShape } from '../../data/source.js';
import {
  type CalibrationExample,
  calibrate,
  type RuleCalibration,
} from '../../ensemble/calibration/calibration.js';
import { type Consultation, consult } from '../../ensemble/consult.js';
import { loadSpecialists } from '../../ensemble/ensemble.js';
import { ensembleFileName } from '../../ensemble/ensemble-file.js';
import { activeSpecialists } from '../../ensemble/routing.js';
import { measureRouting } from '../../ensemble/routing-curve.js';
import type { Specialist } from '../../ensemble/specialist/specialist.js';
import { indexMembership } from '../../ensemble/subsets/membership.js';
import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import { loadGeneralist } from '../../models/checkpoint.js';
import type { Network } from '../../models/network.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const batchSize = 128; // images a forward pass
const storedTop = 50; // of the generalist's classes that calibration keeps for an example, beside the active subsets
const maxExamples = 20_000; // bounds the memory of the fit
const curveExamples = 4000; // on which rules of routing are compared

/** Chooses, on validation, temperatures, weights, the fusion rule and which specialists are kept. */
export async function calibrateEnsemble(context: StageContext): Promise<StageResults['ensemble']> {
  const { settings, directory, log, signal } = context;
  const {
    routingTop,
    routingMass,
    rule,
    calibrate: fit,
    weights,
    select,
    selectionErrors,
  } = settings.ensemble;
  const { name: backend, operations } = await selectBackend(settings.backend);
  context.usesBackend(backend);
  const { splits, image, classes } = await openDataset(context.input('dataset'));
  const generalist = await loadGeneralist(context.input('generalist'), operations);
  const specialists = await loadSpecialists(context.input('specialists'), generalist);
  try {
    const configs = specialists.map(({ config }) => config);
    const examples = await validationExamples(context, generalist, specialists, splits.validation, image);
    log.info(`calibrating on ${examples.length.toLocaleString('en')} validation images`);
    const options = { rule, fit, weights, select, selectionErrors };
    const calibration = await calibrate(examples, configs, classes.length, { ...options, signal });
    const batches = tensorBatches(operations, splits.validation, image, curveExamples);
    const routing = (await measureRouting(generalist, specialists, calibration, batches)).map((point) => ({
      ...point,
    }));
    const keptOf = (fitted: RuleCalibration) => fitted.specialists.filter(({ kept }) => kept).length;
    const summary = {
      rule: calibration.rule,
      generalistTemperature: calibration.generalistTemperature,
      parameters: { ...calibration.parameters },
      examples: calibration.examples,
      generalist: { ...calibration.generalist },
      uncalibrated: { ...calibration.uncalibrated },
      ensemble: { ...calibration.ensemble },
      crossFitted: { ...calibration.crossFitted },
      routing,
    };
    await writeJsonAtomically(join(directory, ensembleFileName), {
      routingTop,
      routingMass,
      ...summary,
      specialists: specialistsJson(calibration),
      others: calibration.others.map((other) => ({
        rule: other.rule,
        generalistTemperature: other.generalistTemperature,
        parameters: { ...other.parameters },
        uncalibrated: { ...other.uncalibrated },
        ensemble: { ...other.ensemble },
        crossFitted: { ...other.crossFitted },
        specialists: specialistsJson(other),
      })),
    });
    return {
      ...summary,
      specialists: specialists.length,
      kept: keptOf(calibration),
      weight: median(calibration.specialists.map(({ weight }) => weight)),
      rules: [calibration, ...calibration.others].map((fitted) => ({
        rule: fitted.rule,
        kept: keptOf(fitted),
        crossFitted: { ...fitted.crossFitted },
      })),
    };
  } finally {
    generalist.dispose();
    for (const { network } of specialists) network.dispose();
  }
}

/** What generalist and specialists say about the validation images, at temperature 1. */
async function validationExamples(
  { log, signal, settings }: StageContext,
  generalist: Network,
  specialists: readonly Specialist[],
  split: Split,
  image: ImageShape,
): Promise<readonly CalibrationExample[]> {
  const configs = specialists.map(({ config }) => config);
  const membership = indexMembership(configs, generalist.definition.outputs);
  const { routingTop: top, routingMass: mass } = settings.ensemble;
  const progress = log.progress('answers for validation', Math.min(split.rows, maxExamples));
  const list: CalibrationExample[] = [];
  for await (const { images, labels } of tensorBatches(generalist.operations, split, image, maxExamples)) {
    if (signal.aborted)
      throw new KdSpecError('interrupted', `calibration: stopped after ${list.length} images`);
    const consultations = await consult(generalist, specialists, images, ({ probabilities }) =>
      activeSpecialists(probabilities, membership, { top, mass }),
    );
    images.dispose();
    for (const [row, consultation] of consultations.entries()) {
      list.push(toExample(labels[row], consultation, configs));
    }
    progress.update(list.length);
  }
  progress.finish();
  return list;
}

/** The first images of a split, as tensors that the consumer disposes of. */
async function* tensorBatches(operations: Operations, split: Split, image: ImageShape, most: number) {
  let done = 0;
  for await (const { images, labels } of imageBatches(split, image, { batchSize })) {
    const shape = [labels.length, image.height, image.width, image.channels] as const;
    yield { images: operations.tensor(images, shape), labels };
    done += labels.length;
    if (done >= most) return;
  }
}

function specialistsJson({ specialists }: RuleCalibration): JsonObject[] {
  return specialists.map(({ parameters, ...specialist }) => ({
    ...specialist,
    ...(parameters && { parameters: { ...parameters } }),
  }));
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}

/** Keeps the generalist's first classes and those of the active subsets; calibration spreads the rest evenly. */
function toExample(
  label: number,
  { generalist: { probabilities }, specialists }: Consultation,
  configs: readonly { readonly classes: readonly number[] }[],
): CalibrationExample {
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
