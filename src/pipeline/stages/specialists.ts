import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, selectBackend } from '../../compute/backend.js';
import { readManifest } from '../../core/artefact.js';
import { KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { count } from '../../core/quantity-text.js';
import { imageBatches } from '../../data/batches.js';
import { type Bystanders, openBystanders, teachingBystanders } from '../../data/bystanders.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import { loadSpecialists } from '../../ensemble/ensemble.js';
import { type SharedFeatures, shareFeatures } from '../../ensemble/specialist/shared-features.js';
import { firstTrainedPart } from '../../ensemble/specialist/specialist.js';
import type { SpecialistNetworks } from '../../ensemble/specialist/specialist-networks.js';
import { specialistTrial } from '../../ensemble/specialist/specialist-trial.js';
import { countExamples } from '../../ensemble/specialist/train-specialist.js';
import type { Subset } from '../../ensemble/subsets/subsets.js';
import { readSubsets, subsetsFileName } from '../../ensemble/subsets/subsets-file.js';
import { measureOwnClasses } from '../../evaluation/own-classes.js';
import type { Engine } from '../../jobs/engine.js';
import { jobsFolder } from '../../jobs/jobs-folder.js';
import { createManualEngine } from '../../jobs/kubernetes.js';
import { chooseLocalEngine } from '../../jobs/local-engine.js';
import { createSlurm } from '../../jobs/slurm/slurm-engine.js';
import { trainingCommand } from '../../jobs/slurm/submission.js';
import { findFinished, type SpecialistWork } from '../../jobs/specialist-work.js';
import { describeFailures, submitMissing, trainMissing } from '../../jobs/train-missing.js';
import { loadGeneralist, readDefinition } from '../../models/checkpoint.js';
import { batchSizeFor } from '../../models/classifier.js';
import { cutNetwork } from '../../models/network-backbone.js';
import { forwardFlops } from '../../models/network-definition.js';
import { expectNoDustbin, expectSubsetsOf, needsPredictions } from '../checks/specialists-checks.js';
import type { StageContext } from '../stage.js';
import { type StageResults, specialistMetrics } from '../stage-metrics.js';
import { hasFewerViews, usualViews, viewsOfDataset } from '../views.js';

/** Trains a specialist for each subset; those that an interrupted run finished are kept. */
export async function trainSpecialists(context: StageContext): Promise<StageResults['specialists']> {
  const { settings, directory, log, signal } = context;
  const {
    parallel: _parallel,
    hangSeconds: _hangSeconds,
    workerMemory: _workerMemory,
    engine: kind,
    wait,
    slurm: _slurm,
    ...training
  } = settings.specialists;
  const { classes, subsets: found } = await readSubsets(join(context.input('subsets'), subsetsFileName));
  const dataset = await openDataset(context.input('dataset'));
  expectSubsetsOf(dataset.classes.length, classes, 'the workspace');
  const labelCounts = await countLabels(dataset.splits.train, dataset.classes.length);
  const subsets = withImages(found, labelCounts, dataset.classes, log);
  const bystanders = training.retrain === 'all' ? undefined : await openBystanders(context.input('dataset'));
  if (bystanders) {
    const others = await teachingBystanders(bystanders);
    for (let label = 0; label < labelCounts.length; label++) labelCounts[label] += others[label];
  }
  refuseIfNoneCanLearn(subsets, labelCounts);
  expectDustbins(subsets, labelCounts, settings.ensemble.rule);
  const backend = await chooseBackend(context, subsets);
  const work: SpecialistWork = {
    directory,
    generalist: context.input('generalist'),
    dataset: context.input('dataset'),
    inputs: {
      generalist: (await readManifest(context.input('generalist'))).digest,
      dataset: (await readManifest(context.input('dataset'))).digest,
    },
    subsets,
    labelCounts: [...labelCounts],
    training: {
      ...training,
      views: viewsOfDataset(settings, dataset, bystanders),
      seed: training.seed ?? settings.seed,
      checkpointSeconds: settings.generalist.checkpointSeconds,
    },
    backend,
  };
  const { engine, workers } = await chooseEngine(context, backend);
  const sharing = await shareBetween(work, { dataset, bystanders }, context);
  const shared = { ...work, features: sharing.features };
  if (engine.outlivesCoordinator && !wait) await submitMissing(engine, shared, { log, signal });
  const { done, failed } = await trainMissing(engine, shared, { log, signal });
  if (failed.length > 0) {
    throw new KdSpecError(
      'job-failed',
      `${failed.length} of ${subsets.length} specialists failed; the others are kept and --resume tries these again:\n${describeFailures(failed)}`,
    );
  }
  await rm(jobsFolder(context.workspace), { recursive: true, force: true });
  await rm(join(directory, '.partial'), { recursive: true, force: true });
  const manifests = await Promise.all(subsets.map(({ id }) => readManifest(join(directory, String(id)))));
  context.usesBackend(manifests[0]?.backend ?? 'none');
  const validation = await compare(dataset, context);
  return {
    specialists: subsets.length,
    doneBefore: done.filter(({ wasDone }) => wasDone).length,
    workers,
    engine: kind,
    trainingSeconds: manifests.reduce((sum, { seconds }) => sum + seconds, sharing.seconds),
    trainingFlops: manifests.reduce((sum, { metrics }) => sum + Number(metrics.trainingFlops), sharing.flops),
    sharedSeconds: sharing.seconds,
    ...(sharing.features && { views: sharing.features.views }),
    bySpecialist: subsets.map(({ id, classes }, position) => ({
      id,
      classes: classes.length,
      ...specialistMetrics.parse(manifests[position].metrics),
    })),
    ...(validation && { validation }),
  };
}

/**
 * The subsets without classes that have no training images, which given subsets, and those of given predictions, may
 * hold: a specialist could learn nothing about such a class, and would take its mass away.
 */
function withImages(
  subsets: readonly Subset[],
  labelCounts: Int32Array,
  names: readonly string[],
  log: Log,
): readonly Subset[] {
  const dropped = new Set(
    subsets.flatMap(({ classes }) => classes.filter((label) => labelCounts[label] === 0)),
  );
  const [example] = dropped;
  if (example === undefined) return subsets;
  log.warn(
    `${dropped.size.toLocaleString('en')} classes of the subsets have no training image, such as ${names[example]}: they ` +
      'stay with the generalist',
  );
  return subsets.map(({ id, classes }) => {
    const left = classes.filter((label) => labelCounts[label] > 0);
    return { id, classes: left.length > 0 ? left : classes }; // one without any is refused by its training
  });
}

/** One subset without examples fails alone, as an accident does; where all are, features would be computed for nothing. */
function refuseIfNoneCanLearn(subsets: readonly Subset[], labelCounts: Int32Array): void {
  const reasons = subsets.flatMap((subset) => {
    try {
      countExamples(subset, labelCounts);
      return [];
    } catch (error) {
      return [error];
    }
  });
  if (reasons.length > 0 && reasons.length === subsets.length) throw reasons[0];
}

/** Refuses a rule that uses dustbins where a subset leaves no example for its own, before anything is computed. */
function expectDustbins(subsets: readonly Subset[], labelCounts: Int32Array, rule: string): void {
  const examples = labelCounts.reduce((sum, counted) => sum + counted, 0);
  for (const { id, classes } of subsets) {
    const own = classes.reduce((sum, label) => sum + labelCounts[label], 0);
    if (own === examples)
      expectNoDustbin(rule, `subset ${id} holds all ${count(examples)} training examples`);
  }
}

/**
 * What specialists are trained on. On this machine `auto` is decided once for all processes; the nodes of a cluster
 * each decide for themselves.
 */
async function chooseBackend(
  { settings, input }: StageContext,
  subsets: readonly Subset[],
): Promise<BackendName> {
  const { engine, parallel, ...training } = settings.specialists;
  if (engine !== 'local') return settings.backend;
  const definition = await readDefinition(input('generalist'));
  const inParallel = parallel !== null && parallel !== 1;
  const trial = specialistTrial(definition, subsets, training, { inParallel });
  return (await selectBackend(settings.backend, { trial })).name;
}

const comparedImages = 4000; // of validation: about 0.7% standard error
const leastComparedImages = 1000; // where there are so many classes that more would take minutes
const comparedValues = 4e8; // probabilities of the generalist, over all of them

/** Generalist and specialists on validation images of their classes; undefined without such images. */
async function compare(
  { splits: { validation }, image, classes }: Dataset,
  { directory, backend, store, input, log, signal }: StageContext,
): Promise<StageResults['specialists']['validation']> {
  if (validation.rows === 0) return undefined;
  log.info('comparing generalist and specialists on validation images');
  const { operations } = await selectBackend(backend);
  const generalist = await loadGeneralist(input('generalist'), operations, { store });
  let specialists: SpecialistNetworks | undefined;
  try {
    specialists = await loadSpecialists(directory, generalist);
    const batchSize = Math.min(128, batchSizeFor(classes.length));
    const batches = imageBatches(validation, image, { batchSize });
    const affordable = Math.max(leastComparedImages, Math.floor(comparedValues / classes.length));
    const most = Math.min(comparedImages, affordable);
    return await measureOwnClasses(generalist, specialists, batches, { most, signal });
  } finally {
    generalist.dispose();
    specialists?.dispose();
  }
}

/** Who trains, as the settings say, and in how many processes of this machine: none where a cluster does. */
async function chooseEngine(
  { settings, workspace, input }: StageContext,
  backend: BackendName,
): Promise<{ readonly engine: Engine; readonly workers: number }> {
  const { engine, slurm, batchSize } = settings.specialists;
  const folder = jobsFolder(workspace);
  switch (engine) {
    case 'local': {
      const definition = await readDefinition(input('generalist'));
      return chooseLocalEngine(settings.specialists, { backend, definition, batchSize });
    }
    case 'slurm':
      return { engine: createSlurm(folder, trainingCommand(workspace), slurm), workers: 0 };
    case 'kubernetes':
      return {
        engine: createManualEngine(folder, 'kd-spec jobs manifest | kubectl apply -f -'),
        workers: 0,
      };
  }
}

/**
 * Computes what all specialists share, unless every specialist is done: the generalist's backbone for the
 * training images. They lie beside the unfinished specialists, and go with them.
 */
async function shareBetween(
  work: SpecialistWork,
  { dataset, bystanders }: { readonly dataset: Dataset; readonly bystanders: Bystanders | undefined },
  { settings, backend, store, log, signal }: StageContext,
): Promise<{
  readonly features: SharedFeatures | undefined;
  readonly seconds: number;
  readonly flops: number;
}> {
  const { retrain } = settings.specialists;
  const from = firstTrainedPart[retrain];
  if (from === 'convolutions') return { features: undefined, seconds: 0, flops: 0 };
  const { views } = work.training;
  const withPredictions = needsPredictions(settings.specialists);
  const shared = { folder: join(work.directory, '.partial', 'features'), views };
  const { operations } = await selectBackend(backend);
  const generalist = await loadGeneralist(work.generalist, operations, { store });
  const { backbone, head } = cutNetwork(generalist, from);
  try {
    const all = forwardFlops(generalist.definition);
    const frozen = all - forwardFlops(generalist.definition, { from });
    const done = await Promise.all(work.subsets.map((_, position) => findFinished(work, position)));
    const ingredients = {
      backbone,
      head: withPredictions ? head : undefined,
      dataset,
      bystanders,
      seed: settings.seed,
    };
    const isDone = done.every((manifest) => manifest !== undefined);
    if (!isDone && hasFewerViews(settings, dataset, views)) {
      log.info(
        `${views} of ${usualViews} augmented views of each training image, as there are ` +
          `${count(dataset.splits.train.rows)} images: --views ${usualViews} takes all`,
      );
    }
    const seconds = isDone ? 0 : await shareFeatures(shared, ingredients, { log, signal });
    const rows = dataset.splits.train.rows + (bystanders?.teach.rows ?? 0);
    const flops = views * rows * (withPredictions ? all : frozen);
    return { features: shared, seconds, flops };
  } finally {
    backbone.dispose();
  }
}
