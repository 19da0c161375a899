import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import type { JsonObject } from '../../core/json.js';
import { createPause } from '../../core/pause.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset, type Split } from '../../data/dataset.js';
import type { ImageShape } from '../../data/source.js';
import {
  type CalibrationExample,
  calibrate,
  type RuleCalibration,
} from '../../ensemble/calibration/calibration.js';
import { calibrationExamples } from '../../ensemble/calibration/calibration-data.js';
import { loadSpecialists } from '../../ensemble/ensemble.js';
import { ensembleFileName } from '../../ensemble/ensemble-file.js';
import { mostActive } from '../../ensemble/routing.js';
import { measureRouting } from '../../ensemble/routing-curve.js';
import { loadGeneralist } from '../../models/checkpoint.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const batchSize = 128; // images a forward pass
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
    const routingRule = { top: routingTop, mass: routingMass, most: mostActive };
    const validation = splits.validation;
    const progress = log.progress('predictions for validation', Math.min(validation.rows, maxExamples));
    const examples: CalibrationExample[] = [];
    const pause = createPause(signal, 'calibration');
    const batches = firstBatches(validation, image, maxExamples);
    for await (const example of calibrationExamples(generalist, specialists, batches, routingRule)) {
      examples.push(example);
      const turn = pause();
      if (!turn) continue;
      progress.update(examples.length);
      await turn;
    }
    progress.finish();
    log.info(`calibrating on ${examples.length.toLocaleString('en')} validation images`);
    const options = { rule, fit, weights, select, selectionErrors };
    const calibration = await calibrate(examples, configs, classes.length, { ...options, signal });
    if (calibration.examples < examples.length) {
      log.info(
        `fitted to the first ${calibration.examples.toLocaleString('en')} of them: so many specialists are active on an ` +
          'image that more would take too long',
      );
    }
    const curve = firstBatches(validation, image, curveExamples);
    const points = await measureRouting(generalist, specialists, calibration, curve, { pause });
    const routing = points.map((point) => ({ ...point }));
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
      routingMost: mostActive,
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

/** The first images of a split, in batches. */
async function* firstBatches(split: Split, image: ImageShape, most: number) {
  let done = 0;
  for await (const batch of imageBatches(split, image, { batchSize })) {
    yield batch;
    done += batch.count;
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
