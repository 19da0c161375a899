import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { findManifest } from '../../core/artefact.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { imageBatches } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { type Ensemble, loadEnsemble } from '../../ensemble/ensemble.js';
import { readSubsets, subsetsFileName } from '../../ensemble/subsets-file.js';
import { createEvaluation, type Evaluation } from '../../evaluation/evaluation.js';
import type { Report } from '../../evaluation/report.js';
import { renderReportPage } from '../../evaluation/report-page.js';
import type { StageContext } from '../stage.js';
import { stageNames } from '../stage-names.js';

const batchSize = 128; // images a forward pass

/** Evaluates generalist and ensemble on the test split, and writes `report.json` and `index.html`. */
export async function evaluate(context: StageContext): Promise<JsonObject> {
  const { settings, directory } = context;
  const dataset = await openDataset(context.input('dataset'));
  const ensemble = await loadEnsemble(context.workspace, { backend: settings.backend });
  context.usesBackend(tf.getBackend());
  try {
    const evaluation = await evaluateEnsemble(ensemble, dataset, context);
    const { subsets } = await readSubsets(join(context.input('subsets'), subsetsFileName));
    const report: Report = {
      ...evaluation,
      dataset: { description: dataset.description, classes: dataset.classes.length },
      subsets: subsets.map(({ id, classes }) => ({
        id,
        classes: classes.map((label) => dataset.classes[label]),
      })),
      fusion: {
        rule: ensemble.settings.rule,
        kept: ensemble.settings.specialists.filter(({ kept }) => kept).length,
        trained: ensemble.specialists.length,
      },
      stages: await stageTimes(context),
      ...(dataset.ceiling && { ceiling: dataset.ceiling }),
    };
    await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(join(directory, 'index.html'), renderReportPage(report));
    return structuredClone(report) as unknown as JsonObject;
  } finally {
    ensemble.dispose();
  }
}

async function evaluateEnsemble(
  ensemble: Ensemble,
  dataset: Dataset,
  { settings, log, signal }: StageContext,
): Promise<Evaluation> {
  const { split: splitName, maxExamples } = settings.report;
  const split = dataset.splits[splitName];
  const { image } = dataset;
  // The evaluation numbers the kept specialists from 0; the ensemble numbers all of them.
  const kept = ensemble.settings.specialists.flatMap((specialist, position) =>
    specialist.kept ? [position] : [],
  );
  const evaluation = createEvaluation(kept.map((position) => ensemble.specialists[position].config));
  const numberOf = new Map(kept.map((position, number) => [position, number]));
  const total = Math.min(split.rows, maxExamples ?? split.rows);
  const progress = log.progress(`answers for ${splitName}`, total);
  let done = 0;
  for await (const { images, labels } of imageBatches(split, image, { batchSize })) {
    if (signal.aborted) throw new KdSpecError('interrupted', `evaluation: stopped after ${done} images`);
    const input = tf.tensor4d(images, [labels.length, image.height, image.width, image.channels]);
    const answers = await ensemble.distributions(input, (row) =>
      evaluation.covering(labels[row]).map((number) => kept[number]),
    );
    input.dispose();
    for (const [row, label] of labels.entries()) {
      if (done === total) break;
      const { generalist, ensemble: fused, specialists } = answers[row];
      const numbered = specialists.map(({ position, ...answer }) => ({
        number: numberOf.get(position) ?? -1,
        ...answer,
      }));
      evaluation.add({
        label,
        generalist,
        ensemble: fused,
        active: numbered.filter(({ isActive }) => isActive).map(({ number }) => number),
        covering: new Map(numbered.map(({ number, probabilities }) => [number, probabilities])),
      });
      done++;
    }
    progress.update(done);
    if (done === total) break;
  }
  progress.finish();
  return evaluation.result();
}

/** Seconds that each stage before this one took. */
async function stageTimes({ workspace }: StageContext): Promise<{ stage: string; seconds: number }[]> {
  const times = await Promise.all(
    stageNames.map(async (stage) => ({
      stage,
      seconds: (await findManifest(join(workspace, stage)))?.seconds,
    })),
  );
  return times.flatMap(({ stage, seconds }) =>
    seconds === undefined || stage === 'report' ? [] : [{ stage, seconds }],
  );
}
