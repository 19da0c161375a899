import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findManifest, readManifest } from '../../core/artefact.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset } from '../../data/dataset.js';
import { loadEnsemble } from '../../ensemble/ensemble.js';
import { readSubsets, subsetsFileName } from '../../ensemble/subsets/subsets-file.js';
import type { CurvePoint } from '../../evaluation/charts.js';
import { evaluateEnsemble } from '../../evaluation/evaluate-ensemble.js';
import { inferenceCost } from '../../evaluation/inference-cost.js';
import type { Report, StageCost } from '../../evaluation/report.js';
import { renderReportPage } from '../../evaluation/report-page.js';
import { batchSizeFor } from '../../models/classifier.js';
import type { EpochMetrics } from '../../training/metrics-log.js';
import type { StageContext } from '../stage.js';
import { metricsOf, type StageResults } from '../stage-metrics.js';
import { stageNames } from '../stage-names.js';
import { evaluateStudent } from './student-accuracy.js';

/** Evaluates generalist and ensemble on the test split, and writes `report.json` and `index.html`. */
export async function evaluate(context: StageContext): Promise<StageResults['report']> {
  const { settings, directory, log, signal } = context;
  const dataset = await openDataset(context.input('dataset'));
  const ensemble = await loadEnsemble(context.workspace, { backend: settings.backend });
  context.usesBackend(ensemble.generalist.operations.backend);
  try {
    const { split: splitName, maxExamples } = settings.report;
    const split = dataset.splits[splitName];
    const { image } = dataset;
    const batches = () => imageBatches(split, image, { batchSize: batchSizeFor(ensemble.classes.length) });
    const total = Math.min(split.rows, maxExamples ?? split.rows);
    const progress = log.progress(`predictions for ${splitName}`, total);
    const { evaluation, example } = await evaluateEnsemble(ensemble, batches(), {
      image,
      total,
      signal,
      update: (done) => progress.update(done),
    });
    progress.finish();
    const inference = await inferenceCost(ensemble, batches(), { signal });
    const { subsets } = await readSubsets(join(context.input('subsets'), subsetsFileName));
    const calibration = metricsOf('ensemble', (await readManifest(context.input('ensemble'))).metrics);
    const report: Report = {
      ...evaluation,
      dataset: { description: dataset.description, classes: dataset.classes.length },
      split: settings.report.split,
      subsets: subsets.map(({ id, classes }) => ({
        id,
        classes: classes.map((label) => dataset.classes[label]),
      })),
      fusion: {
        rule: ensemble.settings.rule,
        kept: ensemble.settings.specialists.filter(({ kept }) => kept).length,
        trained: ensemble.specialists.length,
        ...(calibration?.rules && {
          rules: calibration.rules.map(({ rule, kept, crossFitted }) => ({ rule, kept, ...crossFitted })),
        }),
      },
      stages: await stageCosts(context),
      ...(inference && { inference }),
      ...(calibration && { routing: calibration.routing }),
      curve: await readCurve(join(context.input('generalist'), 'metrics.jsonl')),
      ...(dataset.ceiling && settings.report.split === 'test' && { ceiling: dataset.ceiling }),
      ...(settings.report.student && {
        student: await evaluateStudent(ensemble.generalist.operations, dataset, context),
      }),
      ...(example && { example }),
    };
    await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(join(directory, 'index.html'), renderReportPage(report));
    return report;
  } finally {
    ensemble.dispose();
  }
}

/** The epochs of `metrics.jsonl`; none where the generalist was imported. */
async function readCurve(path: string): Promise<readonly CurvePoint[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { epoch, loss, validationTop1, validationLoss } = JSON.parse(line) as EpochMetrics;
      return {
        epoch,
        loss,
        ...(validationTop1 !== undefined && { validationTop1 }),
        ...(validationLoss !== undefined && { validationLoss }),
      };
    });
}

/** What each stage before this one took. */
async function stageCosts({ workspace }: StageContext): Promise<readonly StageCost[]> {
  const costs: StageCost[] = [];
  for (const stage of stageNames.filter((name) => name !== 'report')) {
    const manifest = await findManifest(join(workspace, stage));
    if (manifest === undefined) continue;
    const { trainingSeconds, trainingFlops } = manifest.metrics;
    costs.push({
      stage,
      seconds: manifest.seconds,
      ...(typeof trainingSeconds === 'number' && { trainingSeconds }),
      ...(typeof trainingFlops === 'number' && { trainingFlops }),
    });
  }
  return costs;
}
