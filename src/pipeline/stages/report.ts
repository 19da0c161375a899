import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { findManifest, readManifest } from '../../core/artefact.js';
import { signedPercent } from '../../core/percent.js';
import { imageBatches } from '../../data/batches.js';
import { openBystanders } from '../../data/bystanders.js';
import { openDataset } from '../../data/dataset.js';
import { type Ensemble, loadNetworkEnsemble, type NetworkEnsemble } from '../../ensemble/ensemble.js';
import { readSubsets, subsetsFileName } from '../../ensemble/subsets/subsets-file.js';
import type { CurvePoint } from '../../evaluation/curve-charts.js';
import {
  type EvaluatedEnsemble,
  evaluateEnsemble,
  type QueriedSpecialists,
} from '../../evaluation/evaluate-ensemble.js';
import {
  firstClassesKey,
  firstClassesOf,
  judgingBystanders,
  storedFirstClasses,
} from '../../evaluation/first-classes.js';
import { type BystanderReport, bystanderFigures, type TradeOff } from '../../evaluation/harm.js';
import { aloneAndFused, type InferenceCost, inferenceCost } from '../../evaluation/inference-cost.js';
import type { Report, StageCost } from '../../evaluation/report.js';
import {
  detailsFileName,
  type Provenance,
  type ReportDetails,
  type SpecialistCard,
} from '../../evaluation/report-details.js';
import { renderReportPage } from '../../evaluation/report-page.js';
import { batchSizeFor, type Classifier, type ImageBatch } from '../../models/classifier.js';
import { loadOriginal } from '../../models/network-classifier.js';
import type { EpochMetrics } from '../../training/metrics-log.js';
import type { Settings } from '../options.js';
import type { StageContext } from '../stage.js';
import { metricsOf, type StageResults } from '../stage-metrics.js';
import { stageNames } from '../stage-names.js';
import { readRivals } from './rivals.js';
import { evaluateStudent } from './student-accuracy.js';

const timedAtOnce = 32; // images: an imported model takes a second for more

/** Evaluates generalist and ensemble on the test split, and writes `report.json` and `index.html`. */
export async function evaluate(context: StageContext): Promise<StageResults['report']> {
  const { settings, directory, log, signal } = context;
  const dataset = await openDataset(context.input('dataset'));
  const { runtime } = settings.report;
  const key = await firstClassesKey(context.workspace);
  const ensemble = await loadNetworkEnsemble(context.workspace, {
    backend: runtime === 'tensorflow' || runtime === 'wasm' ? runtime : context.backend,
    store: context.store,
  });
  context.usesBackend(runtime === 'onnx' ? 'onnxruntime' : ensemble.generalist.operations.backend);
  let exported: Ensemble | undefined;
  let original: Classifier | undefined;
  try {
    original = await loadOriginal(context.input('generalist'), ensemble.generalist);
    if (runtime === 'onnx') exported = await openAsExported(ensemble, context.input('generalist'));
    const measured = exported ? withDistributionsOf(ensemble, exported) : ensemble;
    const { split: splitName, maxExamples } = settings.report;
    const split = dataset.splits[splitName];
    const { image } = dataset;
    const batchSize = batchSizeFor(ensemble.classes.length);
    const batches = (most = batchSize) =>
      imageBatches(split, image, { batchSize: Math.min(most, batchSize) });
    const total = Math.min(split.rows, maxExamples ?? split.rows);
    const progress = log.progress(`predictions for ${splitName}`, total);
    const evaluated = await evaluateEnsemble(measured, batches(), {
      image,
      original,
      total,
      seed: settings.seed,
      signal,
      update: (done) => progress.update(done),
    });
    progress.finish();
    const inference = await measureCost(ensemble, exported, batches, evaluated.queried, context);
    const { subsets } = await readSubsets(join(context.input('subsets'), subsetsFileName));
    const calibration = metricsOf('ensemble', (await readManifest(context.input('ensemble'))).metrics);
    const bystanders = await measureHarm(
      context,
      { ensemble, key, original, exported: exported && measured },
      {
        tradeOff: calibration?.bystanders?.tradeOff,
      },
    );
    const report: Report = {
      ...evaluated.evaluation,
      ...(evaluated.original && { original: evaluated.original }),
      ...(bystanders && { bystanders }),
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
      ...(settings.report.rivals && { rivals: await readRivals(context.input('rivals')) }),
      ...(evaluated.example && { example: evaluated.example }),
    };
    const whole: ReportDetails = {
      ...evaluated.details,
      classes: dataset.classes,
      specialists: specialistCards(ensemble, settings.ensemble),
      selection: selectionRule(settings.ensemble),
      specialistCurves: await Promise.all(
        ensemble.specialists.map(async ({ config: { id } }) => ({
          id,
          points: await readCurve(join(context.input('specialists'), String(id), 'metrics.jsonl')),
        })),
      ),
      provenance: await provenanceOf(context),
    };
    await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(join(directory, detailsFileName), `${JSON.stringify(whole)}\n`);
    await writeFile(join(directory, 'index.html'), renderReportPage(report, whole));
    return report;
  } finally {
    original?.dispose();
    exported?.dispose();
    ensemble.dispose();
  }
}

/** An ensemble as it would be exported, in ONNX Runtime; or its generalist, as if no specialist had been kept. */
async function openAsExported(
  ensemble: NetworkEnsemble,
  generalist: string,
  { isAlone = false }: { readonly isAlone?: boolean } = {},
): Promise<Ensemble> {
  const { exportOnnx, modelBytes } = await import('../../ensemble/export/export-onnx.js');
  const { exportedParts } = await import('../../ensemble/export/exported-parts.js');
  const { openExportedEnsemble } = await import('../../ensemble/export/exported-ensemble.js');
  const parts = await exportedParts(ensemble, generalist);
  const { settings } = parts;
  const specialists = settings.specialists.map((one) => ({ ...one, kept: one.kept && !isAlone }));
  const model = await exportOnnx({ ...parts, settings: { ...settings, specialists } });
  return openExportedEnsemble(modelBytes(model), { path: 'the exported ensemble' });
}

/** An ensemble with the distributions that its exported form predicts; what specialists predict is the networks' own. */
function withDistributionsOf(networks: NetworkEnsemble, exported: Ensemble): EvaluatedEnsemble {
  const { classes, settings, specialists } = networks;
  return {
    classes,
    settings,
    specialists,
    async trace(batch, options) {
      const own = await exported.trace(batch);
      return (await networks.trace(batch, options)).map((trace, image) => ({
        ...trace,
        generalist: own[image].generalist,
        ensemble: own[image].ensemble,
      }));
    },
  };
}

/**
 * What a prediction costs, in the runtime that is evaluated. A foreign backbone whose features are stored would tell
 * nothing about time: another one is timed.
 */
async function measureCost(
  ensemble: NetworkEnsemble,
  exported: Ensemble | undefined,
  batches: (most?: number) => AsyncIterable<ImageBatch>,
  queried: QueriedSpecialists,
  { input, backend, workspace, signal }: StageContext,
): Promise<InferenceCost | undefined> {
  const shared = { queried, signal };
  const isForeign = ensemble.generalist.backbone !== undefined;
  const some = isForeign ? batches(timedAtOnce) : batches();
  if (exported) {
    const generalist = await openAsExported(ensemble, input('generalist'), { isAlone: true });
    const timed = { generalist, ensemble: exported };
    return inferenceCost(ensemble, some, { ...shared, timed }).finally(() => generalist.dispose());
  }
  if (!isForeign) return inferenceCost(ensemble, some, shared);
  const again = await loadNetworkEnsemble(workspace, { backend });
  return inferenceCost(ensemble, some, { ...shared, timed: aloneAndFused(again) }).finally(() =>
    again.dispose(),
  );
}

/** What the ensemble does to the bystanders: those for the test, unless validation is evaluated. */
async function measureHarm(
  { input, settings, store, log, signal }: StageContext,
  {
    ensemble,
    key,
    original,
    exported,
  }: {
    readonly ensemble: NetworkEnsemble;
    /** Of what it predicts. */
    readonly key: string;
    readonly original: Classifier | undefined;
    /** Where it is measured as it would be exported. */
    readonly exported: EvaluatedEnsemble | undefined;
  },
  { tradeOff }: { readonly tradeOff: TradeOff | undefined },
): Promise<BystanderReport | undefined> {
  const bystanders = await openBystanders(input('dataset'));
  if (bystanders === undefined) return undefined;
  const { split, maxExamples } = settings.report;
  const images = judgingBystanders(bystanders, split === 'test' ? 'test' : 'bound');
  const most = Math.min(images.split.rows, maxExamples ?? images.split.rows);
  const progress = log.progress('predictions for bystanders', most);
  const options = { most, signal, update: (done: number) => progress.update(done) };
  const first = exported
    ? await firstClassesOf({ ensemble: exported, original }, images, options)
    : await storedFirstClasses({ ensemble, original }, images, { ...options, key, store });
  progress.finish();
  const { harm } = settings.ensemble;
  return {
    description: bystanders.description,
    ...bystanderFigures(first, ensemble.classes.length),
    ...(harm !== null && { bound: harm }),
    ...(tradeOff && { tradeOff }),
  };
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

/** What validation decided about each specialist, kept or not. */
function specialistCards(
  { specialists, settings }: NetworkEnsemble,
  { select }: Settings['ensemble'],
): readonly SpecialistCard[] {
  return specialists.map(({ config: { id, classes, dustbin } }, position) => {
    const { temperature, weight, kept, ...rest } = settings.specialists[position];
    return {
      id,
      classes,
      dustbinCorrection: dustbin.correction,
      isCorrectedByImage: dustbin.routed !== undefined,
      temperature,
      weight,
      kept,
      reason: select ? validationText(validationGain.safeParse(rest).data) : 'there was no selection',
    };
  });
}

const validationGain = z.object({
  examples: z.number(),
  gain: z.number(),
  standardError: z.number(),
  top1Gain: z.number(),
});

/** What the selection saw of a specialist, as the ensemble's file has it. */
function validationText(seen: z.infer<typeof validationGain> | undefined): string {
  if (seen === undefined) return 'no figures of validation were kept';
  const { examples, gain, standardError, top1Gain } = seen;
  if (examples === 0) return 'active on no validation image';
  return (
    `on ${examples.toLocaleString('en')} validation images: log-likelihood ${gain < 0 ? '−' : '+'}` +
    `${Math.abs(gain).toFixed(3)} ± ${standardError.toFixed(3)} nats, top-1 ${signedPercent(top1Gain)}`
  );
}

function selectionRule({ select, selectionErrors }: Settings['ensemble']): string {
  if (!select) return 'All specialists were kept, without a selection (--no-select).';
  const errors = selectionErrors === 1 ? 'one standard error' : `${selectionErrors} standard errors`;
  return (
    'Validation chose which specialists are kept, one after the other, the least helpful first: those whose gain in ' +
    `log-likelihood, on the images for which they are active, is ${selectionErrors === 0 ? 'above zero' : `more than ${errors} above zero`}, ` +
    'and which lose no top-1 there. The figures of each are those after the last decision.'
  );
}

/** With what each artefact was made that the report rests on. */
async function provenanceOf({ workspace }: StageContext): Promise<readonly Provenance[]> {
  const found: Provenance[] = [];
  for (const stage of stageNames.filter((name) => name !== 'report')) {
    const manifest = await findManifest(join(workspace, stage));
    if (manifest === undefined) continue;
    const { kdSpecVersion, seed, backend, digest, finishedAt, parameters } = manifest;
    found.push({ stage, kdSpecVersion, seed, backend, digest, finishedAt, parameters });
  }
  return found;
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
