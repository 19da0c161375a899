import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tensor4D } from '../../compute/operations.js';
import { findManifest, readManifest } from '../../core/artefact.js';
import { KdSpecError } from '../../core/errors.js';
import { imageBatches } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { encodeSmallPng } from '../../data/png.js';
import type { ImageShape } from '../../data/source.js';
import { type Ensemble, loadEnsemble } from '../../ensemble/ensemble.js';
import { predictGeneralist } from '../../ensemble/predict.js';
import { firstTrainedPart } from '../../ensemble/specialist/specialist.js';
import { readSubsets, subsetsFileName } from '../../ensemble/subsets/subsets-file.js';
import type { CurvePoint } from '../../evaluation/charts.js';
import { createEvaluation, type Evaluation } from '../../evaluation/evaluation.js';
import type { InferenceCost, Report, StageCost } from '../../evaluation/report.js';
import { createExampleSearch, describeAnswers, type ReportExample } from '../../evaluation/report-example.js';
import { renderReportPage } from '../../evaluation/report-page.js';
import { batchSizeFor } from '../../models/classifier.js';
import {
  forwardFlops,
  type NetworkDefinition,
  type NetworkPart,
  networkParts,
  networkTensors,
  type TensorSpecification,
} from '../../models/network-definition.js';
import type { EpochMetrics } from '../../training/metrics-log.js';
import type { StageContext } from '../stage.js';
import { metricsOf, type StageResults } from '../stage-metrics.js';
import { stageNames } from '../stage-names.js';
import { evaluateStudent } from './student-accuracy.js';

const generalistBatch = 128; // at which it is fastest when alone
const timedExamples = 4096; // on which the cost of an answer is measured

/** Evaluates generalist and ensemble on the test split, and writes `report.json` and `index.html`. */
export async function evaluate(context: StageContext): Promise<StageResults['report']> {
  const { settings, directory } = context;
  const dataset = await openDataset(context.input('dataset'));
  const ensemble = await loadEnsemble(context.workspace, { backend: settings.backend });
  context.usesBackend(ensemble.generalist.operations.backend);
  try {
    const { evaluation, example } = await evaluateEnsemble(ensemble, dataset, context);
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
      inference: await inferenceCost(ensemble, dataset, context),
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

async function evaluateEnsemble(
  ensemble: Ensemble,
  dataset: Dataset,
  { settings, log, signal }: StageContext,
): Promise<{ evaluation: Evaluation; example: ReportExample | undefined }> {
  const { split: splitName, maxExamples } = settings.report;
  const split = dataset.splits[splitName];
  const { image } = dataset;
  // The evaluation numbers the kept specialists from 0; the ensemble numbers all of them.
  const kept = ensemble.settings.specialists.flatMap((specialist, position) =>
    specialist.kept ? [position] : [],
  );
  const evaluation = createEvaluation(kept.map((position) => ensemble.specialists[position].config));
  const subsets = ensemble.specialists.map(({ config }) => config);
  const search = createExampleSearch();
  const numberOf = new Map(kept.map((position, number) => [position, number]));
  const total = Math.min(split.rows, maxExamples ?? split.rows);
  const progress = log.progress(`answers for ${splitName}`, total);
  let done = 0;
  const batchSize = batchSizeFor(dataset.classes.length);
  for await (const { images, labels, rows } of imageBatches(split, image, { batchSize })) {
    if (signal.aborted) throw new KdSpecError('interrupted', `evaluation: stopped after ${done} images`);
    const shape = [labels.length, image.height, image.width, image.channels] as const;
    const input = ensemble.generalist.operations.tensor(images, shape);
    const answers = await ensemble.distributions(input, (row) =>
      evaluation.covering(labels[row]).map((number) => kept[number]),
    );
    input.dispose();
    for (const [row, label] of labels.entries()) {
      if (done === total) break;
      const { generalist, ensemble: fused, specialists } = answers[row];
      search.offer(answers[row], () => ({
        row: rows[row],
        label: { index: label, class: dataset.classes[label] },
        image: { ...image, png: pngDataUri(images, row, image) },
        ...describeAnswers(answers[row], dataset.classes, subsets),
      }));
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
  return { evaluation: evaluation.result(), example: search.result() };
}

/**
 * What an answer costs: by count, and by the clock over the same images, generalist and ensemble in turn, each
 * in batches of the size that suits it and from images to distributions over all classes.
 */
async function inferenceCost(
  ensemble: Ensemble,
  dataset: Dataset,
  { settings, signal }: StageContext,
): Promise<InferenceCost> {
  const { image } = dataset;
  const { generalist, specialists } = ensemble;
  const { operations } = generalist;
  const costs = specialists.map(({ config, network }) =>
    forwardFlops(network.definition, { from: firstTrainedPart[config.retrain] }),
  );
  const ms = { generalist: 0, ensemble: 0 };
  let [examples, active, flops] = [0, 0, 0];
  const batchSize = batchSizeFor(dataset.classes.length);
  const out = new Float32Array(batchSize * dataset.classes.length);
  const split = dataset.splits[settings.report.split];
  for await (const { images, labels } of imageBatches(split, image, { batchSize })) {
    if (signal.aborted) throw new KdSpecError('interrupted', 'evaluation: stopped while timing answers');
    const input = operations.tensor(images, [labels.length, image.height, image.width, image.channels]);
    const few: Tensor4D[] = [];
    for (let start = 0; start < labels.length; start += generalistBatch) {
      few.push(operations.rowRange(input, start, Math.min(generalistBatch, labels.length - start)));
    }
    const askGeneralist = async () => {
      for (const some of few) await predictGeneralist(generalist, some, { out });
    };
    if (examples === 0) {
      await askGeneralist(); // warms both up
      await ensemble.predict(input, { out });
    }
    const started = performance.now();
    await askGeneralist();
    const between = performance.now();
    await ensemble.predict(input, { out });
    const ended = performance.now();
    operations.dispose(few);
    ms.generalist += between - started;
    ms.ensemble += ended - between;
    for (const { specialists: asked } of await ensemble.distributions(input)) {
      active += asked.length;
      flops += asked.reduce((sum, { position }) => sum + costs[position], 0);
    }
    input.dispose();
    examples += labels.length;
    if (examples >= timedExamples) break;
  }
  const perSecond = (time: number) => (time > 0 ? (1000 * examples) / time : 0);
  const generalistFlops = forwardFlops(generalist.definition);
  return {
    active: active / examples,
    generalistFlops,
    ensembleFlops: generalistFlops + flops / examples,
    generalistImagesPerSecond: perSecond(ms.generalist),
    ensembleImagesPerSecond: perSecond(ms.ensemble),
    generalistParameters: countTensors(networkTensors(generalist.definition)),
    specialistParameters: specialists.reduce(
      (sum, { config, network }, position) =>
        ensemble.settings.specialists[position].kept
          ? sum + countTensors(trainedTensors(network.definition, firstTrainedPart[config.retrain]))
          : sum,
      0,
    ),
  };
}

function trainedTensors(definition: NetworkDefinition, from: NetworkPart) {
  return networkTensors(definition).filter(
    ({ part }) => networkParts.indexOf(part) >= networkParts.indexOf(from),
  );
}

function countTensors(tensors: readonly TensorSpecification[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0);
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

/**
 * An image of a batch as a file that a page can hold.
 *
 * @param images (batch, height, width, channels), 0 to 1
 */
function pngDataUri(images: Float32Array, row: number, image: ImageShape): string {
  const size = image.height * image.width * image.channels;
  const pixels = Uint8Array.from(images.subarray(row * size, (row + 1) * size), (value) =>
    Math.round(255 * value),
  );
  return `data:image/png;base64,${Buffer.from(encodeSmallPng(pixels, image)).toString('base64')}`;
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
