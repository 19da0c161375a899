import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { heldOutCount } from '../data/bystanders.js';
import { manifestName } from '../data/dataset-files.js';
import { importers } from '../data/importers/importers.js';
import { isTempered } from '../distillation/student-objective.js';
import { placeTeacher } from '../distillation/teacher-places.js';
import { shareInside } from '../ensemble/rules/share-inside.js';
import { parseTimeLimit } from '../jobs/slurm/slurm-options.js';
import { ownTeachers } from './options/answers-options.js';
import type { Settings } from './options.js';
import { type Outline, storedClasses, studentNetwork } from './outline.js';
import { isDatasetChosen, type Origin, type ResolvedSettings, settingAt } from './settings.js';
import type { StageName } from './stage-names.js';

/**
 * What a plan is checked by, a function for each section of the options: settings that cannot work are refused before
 * anything is computed, and under `--dry-run` too. A check knows the settings, where each came from, and what the plan
 * would make; a null in the outline is something that is not known yet.
 */
export interface CheckContext {
  readonly settings: Settings;
  readonly origins: ResolvedSettings['origins'];
  readonly outline: Outline;
  /** Tells of what works, but badly. */
  warn(message: string): void;
}

/** @throws KdSpecError `option-invalid` or `usage`, with advice that helps in that case */
export type Check = (context: CheckContext) => void;

/** The check of each section. */
export const checks: Readonly<Record<StageName, Check>> = {
  dataset: checkDataset,
  generalist: checkGeneralist,
  predictions: checkPredictions,
  subsets: checkSubsets,
  specialists: checkSpecialists,
  ensemble: checkEnsemble,
  rivals: () => {},
  answers: checkAnswers,
  student: checkStudent,
  report: checkReport,
};

/** Whether a data set was chosen at all: nobody gets a long job on synthetic images by accident. */
export function checkSource({
  origins,
  command,
}: {
  readonly origins: ResolvedSettings['origins'];
  /** For advice. */
  readonly command: string;
}): void {
  if (isDatasetChosen(origins)) return;
  throw new KdSpecError(
    'usage',
    `expected images to work on, since there is no data set in the workspace yet: kd-spec ${command} --source FOLDER ` +
      'takes yours (kd-spec run --source FOLDER makes everything at once), and --source jft-like or --classes N the ' +
      'synthetic data set',
  );
}

const fewValidationImages = 3; // a class, on average: what fewer choose is mostly noise

function checkDataset(context: CheckContext): void {
  const { settings, origins, outline, warn } = context;
  const { dataset } = settings;
  const kind = outline.dataset?.kind;
  ignored(origins, dataset.bystanders !== null || dataset.model.onnx === null, {
    'dataset.holdOut':
      dataset.bystanders === null
        ? 'every class of a generalist that is trained here has images (--onnx imports one)'
        : '--bystanders gives the images',
  });
  if (kind === undefined) return;
  const chosen = importers.find(({ name }) => name === kind);
  for (const key of new Set(importers.flatMap(({ options }) => options))) {
    const origin = origins.get(`dataset.${key}`);
    const isGiven = origin && ['flag', 'environment', 'pipeline'].includes(origin.kind);
    const isTaken = chosen === undefined || chosen.options.includes(key);
    if (!isGiven || isTaken || settingAt(settings, ['dataset', key]) === null) continue;
    const takers = importers.filter(({ options }) => options.includes(key)).map(({ source }) => source);
    const where = origin.kind === 'flag' ? '' : `${origin.where}: `;
    throw invalid(
      `${where}${flagOf(key)} does nothing for ${chosen.source}, it is for ${takers.join(', ')}: leave it out`,
    );
  }
  if (kind === 'features') checkFeatures(context);
  if (kind === 'han') {
    const needed = ['classes', 'imageSize', 'fonts', 'minimumDesigns', 'validationDesigns', 'testDesigns'];
    const missing = needed.find((key) => settingAt(settings, ['dataset', key]) === null);
    if (missing) throw invalid(`the han data set needs a value for ${flagOf(missing)}, not none`);
    if (dataset.imageSize !== null && dataset.imageSize > 256) {
      throw invalid(`--image-size ${dataset.imageSize}: the han data set has images of at most 256 pixels`);
    }
  }
  if (outline.dataset?.classes !== null && Number(outline.dataset?.classes) < 2) {
    throw invalid(
      `--source ${dataset.source}: expected images of at least 2 classes, found ${outline.dataset?.classes}: ` +
        'put each class into a folder of its own',
    );
  }
  const { images, classes } = outline.dataset ?? {};
  if (images && classes && images.validation < fewValidationImages * classes) {
    warn(
      `${images.validation.toLocaleString('en')} validation images for ${classes.toLocaleString('en')} classes, ` +
        `${(images.validation / classes).toFixed(1)} of each: what they choose (rule, weights, which specialists are ` +
        'kept) is little more than chance. More images, or a larger --validation-fraction, help',
    );
  }
}

/** Rows of features have no neighbours to convolve, and a foreign model takes images. */
function checkFeatures({ settings, origins, outline }: CheckContext): void {
  const { source, model } = settings.dataset;
  if (model.onnx !== null) {
    throw invalid(`--onnx takes images, and ${source} holds features: leave one of the two out`);
  }
  for (const key of ['generalist.network.convolutions', 'student.network.convolutions']) {
    const origin = origins.get(key);
    const value = settingAt(settings, key.split('.'));
    if (origin?.kind !== 'flag' || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(
      `${origin.where}: features have no neighbours to convolve: leave it out (dense layers are --dense)`,
    );
  }
  if (outline.dataset?.image?.logits === undefined) return;
  const { network, head, ...training } = settings.generalist;
  const keys = [
    ...Object.keys(training),
    ...Object.keys(network).map((key) => `network.${key}`),
    ...Object.keys(head).map((key) => `head.${key}`),
  ];
  const reason = `the logits of ${source} are the generalist, and none is trained`;
  ignored(origins, true, Object.fromEntries(keys.map((key) => [`generalist.${key}`, reason])));
}

/** What shapes and trains a generalist does nothing for one that is imported. */
function checkImported({ settings, origins }: CheckContext): void {
  const { network, head, ...training } = settings.generalist;
  const keys = [
    ...Object.keys(training),
    ...Object.keys(network).map((key) => `network.${key}`),
    ...Object.keys(head).map((key) => `head.${key}`),
  ];
  const reason = 'the generalist is imported (--onnx) and not trained';
  ignored(origins, true, Object.fromEntries(keys.map((key) => [`generalist.${key}`, reason])));
}

function checkGeneralist(context: CheckContext): void {
  const { settings, origins, outline } = context;
  const { onnx, ...hints } = settings.dataset.model;
  if (onnx !== null) {
    checkImported(context);
    return;
  }
  const reason = 'it tells how a foreign model is read (--onnx FILE)';
  const keys = Object.keys(hints).map((key) => `dataset.model.${key}`);
  ignored(origins, true, Object.fromEntries(keys.map((key) => [key, reason])));
  if (outline.dataset?.image?.logits !== undefined) return;
  const { network, head, batchSize, patience } = settings.generalist;
  checkBatch('--batch-size', batchSize, network.normalisation, '--normalisation none');
  const classes = outline.dataset?.classes ?? Number.POSITIVE_INFINITY;
  if (head.sampled !== null && head.sampled < classes && head.sampled <= batchSize) {
    throw invalid(
      `--sampled-head ${head.sampled}: expected more than the batch size of ${batchSize}, since each class of a batch ` +
        `takes part in its step and some others must: give --sampled-head ${Math.min(8 * batchSize, classes)}, a ` +
        `--batch-size below ${head.sampled}, or leave it out`,
    );
  }
  if (patience !== null) needImages(outline, 'validation', '--patience');
  needImages(outline, 'train', 'training the generalist');
  ignored(origins, network.convolutions.length === 0, {
    'generalist.network.kernel': 'there is no convolution (--convolutions none)',
  });
  ignored(origins, network.dense.length === 0, {
    'generalist.network.dropout': 'there is no dense layer (--dense none)',
  });
}

function checkPredictions({ settings, outline }: CheckContext): void {
  needImages(
    outline,
    settings.predictions.split,
    `finding what is confused (--predict-split ${settings.predictions.split})`,
  );
}

function checkSubsets({ settings, origins, outline }: CheckContext): void {
  const { specialists, size, clusters, minSize, maxSize, balance, affinity, file } = settings.subsets;
  if ((specialists === null) !== (size === null)) {
    const [given, missing] = size === null ? ['--specialists', '--size'] : ['--size', '--specialists'];
    throw invalid(`${given} was given without ${missing}: give both, or neither`);
  }
  if (specialists !== null && clusters !== null) {
    throw invalid(
      'expected either --clusters (a partition) or --specialists with --size (fixed subsets), got both: ' +
        'set one to none',
    );
  }
  if (minSize !== null && maxSize !== null && minSize > maxSize) {
    throw invalid(`--min-size ${minSize} is larger than --max-size ${maxSize}`);
  }
  if (balance === 'confusion' && specialists !== null) {
    throw invalid(
      '--balance confusion is for a partition: give --clusters instead of --specialists and --size, or leave it out',
    );
  }
  const isPartition = 'they are for a partition, and --specialists with --size makes subsets of one size';
  ignored(origins, specialists !== null, { 'subsets.minSize': isPartition, 'subsets.maxSize': isPartition });
  ignored(origins, affinity !== 'confusion', {
    'subsets.confusion': 'the affinity is the covariance (--affinity confusion takes it)',
  });
  ignored(origins, balance !== 'confusion', {
    'subsets.maxMass': 'only the number of classes is balanced (--balance confusion takes it)',
  });
  const isGiven = '--subsets gives the subsets as they are';
  ignored(
    origins,
    file !== null,
    Object.fromEntries(
      ['clusters', 'minSize', 'maxSize', 'specialists', 'size', 'balance', 'maxMass', 'epochs'].map((key) => [
        `subsets.${key}`,
        isGiven,
      ]),
    ),
  );
  const classes = outline.dataset?.classes;
  if (file === null && classes !== undefined && classes !== null) {
    checkSizes(settings.subsets, classes, outline.dataset?.isExact === true);
  }
}

/** Whether so many subsets of such sizes can be made of the classes. */
function checkSizes(
  { specialists, size, clusters, minSize, maxSize }: Settings['subsets'],
  classes: number,
  isExact: boolean,
): void {
  for (const [flag, value] of Object.entries({ clusters, specialists, size, 'min-size': minSize })) {
    if (value === null || value <= classes) continue;
    throw invalid(`--${flag} ${value}: there are ${classes} classes: give at most ${classes}`);
  }
  if (clusters !== null && minSize !== null && clusters * minSize > classes) {
    throw invalid(
      `--clusters ${clusters} of at least ${minSize} classes (--min-size) need ${clusters * minSize} classes, but ` +
        `there are ${classes}: give --min-size ${Math.floor(classes / clusters)} or --clusters ` +
        `${Math.floor(classes / minSize)}`,
    );
  }
  if (isExact && clusters !== null && maxSize !== null && clusters * maxSize < classes) {
    throw invalid(
      `--clusters ${clusters} of at most ${maxSize} classes (--max-size) hold ${clusters * maxSize} classes, but ` +
        `there are ${classes}: give --max-size ${Math.ceil(classes / clusters)} or --clusters ` +
        `${Math.ceil(classes / maxSize)}`,
    );
  }
}

function checkSpecialists({ settings, origins, outline }: CheckContext): void {
  const { subsets, specialists } = settings;
  const { retrain, head, dense, labelSmoothing, engine, slurm } = specialists;
  if (head === 'full' && labelSmoothing > 0) {
    throw invalid(
      '--specialist-label-smoothing is for heads with a dustbin: with --specialist-head full use --soft-share, which ' +
        'smooths towards what the generalist predicts',
    );
  }
  const isImported = settings.dataset.model.onnx !== null;
  if (isImported && retrain === 'all') {
    throw invalid(
      '--retrain all would train the layers of an imported model, which stay as they are: give --retrain top or head',
    );
  }
  if (retrain === 'all' && needsPredictions(specialists)) {
    throw invalid(
      '--routed-share, --soft-share and --specialist-head full need cached features, which --retrain all has none of: ' +
        'leave them at their defaults, or give --retrain top or --retrain head',
    );
  }
  if (dense !== null) {
    const ofSettings = isImported ? [] : settings.generalist.network.dense;
    const least = outline.generalist?.definition.dense ?? ofSettings;
    if (retrain === 'head') {
      throw invalid(
        '--specialist-dense widens layers that --retrain head leaves as they are: leave one of the two at its default',
      );
    }
    if (dense.length !== least.length || dense.some((units, layer) => units < least[layer])) {
      throw invalid(
        `--specialist-dense ${dense.join()}: expected ${least.length} widths, none below the generalist's ` +
          `(${least.join() || 'it has no dense layer'}): change them, or train another generalist`,
      );
    }
  }
  const classes = outline.dataset?.classes;
  const isAll = outline.dataset?.isExact === true && classes !== null;
  // Of an imported model most classes may lie outside, and bystanders are images of those.
  const isOnlyPart = outline.dataset !== null && mayHaveBystanders(settings, outline.dataset);
  if (isAll && !isOnlyPart && subsets.file === null && (subsets.clusters === 1 || subsets.size === classes)) {
    throw invalid(
      `${subsets.clusters === 1 ? '--clusters 1' : `--size ${subsets.size}`} makes a subset of all classes, and a ` +
        'specialist tells its classes from the others: leave some out',
    );
  }
  if (slurm.time !== null && engine === 'slurm' && parseTimeLimit(slurm.time) === undefined) {
    throw invalid(`--slurm-time: expected a time such as 90 (minutes) or 4:00:00, got "${slurm.time}"`);
  }
  ignored(origins, retrain === 'all', {
    'specialists.views': 'no features are cached with --retrain all',
  });
  const onCluster = `jobs of ${engine} train (--engine local takes it)`;
  ignored(origins, engine !== 'local', {
    'specialists.parallel': onCluster,
    'specialists.hangSeconds': onCluster,
    'specialists.workerMemory': onCluster,
  });
  ignored(origins, engine === 'local', {
    'specialists.wait': 'this machine trains (--engine slurm takes it)',
  });
  ignored(
    origins,
    engine !== 'slurm',
    Object.fromEntries(
      Object.keys(slurm).map((key) => [
        `specialists.slurm.${key}`,
        'no job goes to Slurm (--engine slurm takes it)',
      ]),
    ),
  );
}

/** Whether specialists need the generalist's predictions for the training images, beside the features. */
export function needsPredictions({
  routedShare,
  softShare,
  head,
}: Pick<Settings['specialists'], 'routedShare' | 'softShare' | 'head'>): boolean {
  return routedShare > 0 || softShare > 0 || head === 'full';
}

/**
 * Subsets, and the predictions that they come from, are of the classes of the data set.
 *
 * @param place where the subsets are from
 * @throws KdSpecError `subsets-invalid`
 */
export function expectSubsetsOf(classes: number, found: number, place: string): void {
  if (found === classes) return;
  throw new KdSpecError(
    'subsets-invalid',
    `the subsets of ${place} are for ${found} classes, the data set has ${classes}: give subsets, or predictions to ` +
      'cluster, of these classes; predictions in which the last classes never occur name their number in the metadata of ' +
      'their schema (kd-spec.classes)',
  );
}

function checkEnsemble({ settings, origins, outline }: CheckContext): void {
  const { routingMass, calibrate, select } = settings.ensemble;
  needImages(outline, 'validation', 'calibrating the ensemble');
  ignored(origins, routingMass !== null, {
    'ensemble.routingTop': '--routing-mass chooses the specialists: give one of the two',
  });
  const hasNone = outline.dataset !== null && !mayHaveBystanders(settings, outline.dataset);
  ignored(origins, hasNone, {
    'ensemble.harm': 'there are no bystanders to measure it on (--bystanders PATH)',
  });
  ignored(origins, !calibrate, { 'ensemble.weights': 'nothing is fitted with --no-calibrate' });
  ignored(origins, !select, { 'ensemble.selectionErrors': 'all specialists are kept with --no-select' });
}

/** Whether there are bystanders, as far as it is known beforehand. */
function mayHaveBystanders(
  { dataset }: Settings,
  { classes, modelClasses, isExact }: NonNullable<Outline['dataset']>,
): boolean {
  if (dataset.bystanders !== null) return true;
  if (dataset.model.onnx === null || dataset.holdOut === 0) return false;
  if (!isExact || classes === null || modelClasses === null) return true;
  return classes < modelClasses && heldOutCount(classes, dataset.holdOut) > 0;
}

function checkAnswers({ settings, origins, outline }: CheckContext): void {
  const { teachers, views } = settings.answers;
  const own: readonly string[] = ownTeachers;
  for (const teacher of teachers.filter((name) => !own.includes(name))) {
    const { kind, path } = placeTeacher(teacher);
    if (kind === 'unknown') {
      throw invalid(
        `--teacher: no teacher at ${path}: expected ensemble, generalist, the folder of a checkpoint (config.json and ` +
          'model.safetensors), of a workspace, of predictions (*.arrow), or an .onnx file',
      );
    }
    if (kind === 'predictions' && views > 0) {
      throw invalid(
        `--transfer-views ${views}: stored predictions (${teacher}) are of the images as they are: set it to 0`,
      );
    }
  }
  if (settings.answers.transfer === null) needImages(outline, 'train', 'the transfer set');
  ignored(origins, teachers.length === 1, { 'answers.mean': 'there is one teacher' });
}

function checkStudent({ settings, origins, outline }: CheckContext): void {
  const { objective, batchSize, transferClasses, transferWithout } = settings.student;
  const { transfer, top } = settings.answers;
  const { normalisation } = studentNetwork(settings);
  checkBatch('--student-batch-size', batchSize, normalisation, '--student-normalisation none');
  needImages(outline, 'validation', 'choosing the student');
  const classes = outline.dataset?.classes ?? undefined;
  const isExact = outline.dataset?.isExact === true;
  const needsAll = objective === 'logits' || objective === 'standardised';
  if (needsAll && classes !== undefined && storedClasses(top, classes) < classes) {
    throw invalid(
      `--objective ${objective} needs the logits of all ${classes} classes, but ${storedClasses(top, classes)} of each ` +
        `prediction would be stored: add --answers-top ${classes}, or match distributions (--objective soft-targets)`,
    );
  }
  // Whether another data set has the same classes shows when it is opened; other images have no labels at all.
  const isUnlabelled = transfer !== null && !existsSync(join(transfer, manifestName));
  if (isUnlabelled && (objective === 'labels' || objective === 'decoupled')) {
    throw invalid(
      `--objective ${objective}: the images of ${transfer} have no labels: give another --transfer, or another objective`,
    );
  }
  if (isUnlabelled && (transferClasses !== null || transferWithout.length > 0)) {
    throw invalid(
      `--transfer-classes and --transfer-without choose by labels, and the images of ${transfer} have none: leave ` +
        'them out, or give a data set of kd-spec as --transfer',
    );
  }
  if (classes !== undefined) {
    for (const [flag, list] of Object.entries({ classes: transferClasses ?? [], without: transferWithout })) {
      const beyond = list.find((label) => label >= classes);
      if (beyond === undefined) continue;
      throw invalid(`--transfer-${flag} ${beyond}: expected numbers of classes from 0 to ${classes - 1}`);
    }
    const seen = new Set(transferClasses ?? Array.from({ length: classes }, (_, label) => label));
    for (const label of transferWithout) seen.delete(label);
    if (isExact && seen.size === 0) {
      throw invalid(
        '--transfer-without leaves no class for the student to learn from: leave some out of the list',
      );
    }
  }
  ignored(origins, !isTempered(objective), {
    'student.temperature': `--objective ${objective} has no soft targets`,
  });
  ignored(origins, !isTempered(objective) || objective === 'standardised', {
    'student.rest':
      objective === 'standardised'
        ? 'all classes are stored'
        : `--objective ${objective} has no soft targets`,
  });
  ignored(origins, objective !== 'decoupled', {
    'student.otherWeight': '--objective is not decoupled',
  });
  ignored(origins, objective === 'labels', {
    'student.hardWeight': '--objective labels has nothing but labels',
  });
}

function checkReport({ settings, outline }: CheckContext): void {
  if (settings.report.runtime === 'onnx') refuseWhatCannotBeExported(settings, '--runtime onnx runs one');
  needImages(outline, settings.report.split, `evaluating (--evaluate-split ${settings.report.split})`);
}

/**
 * Says before hours of training what export would refuse after them.
 *
 * @param use what needs a graph, such as `patch writes one`
 * @throws KdSpecError `option-invalid`
 */
export function refuseWhatCannotBeExported(
  { specialists, ensemble }: Pick<Settings, 'specialists' | 'ensemble'>,
  use: string,
): void {
  const refuse = (what: string, advice: string) =>
    invalid(`${what} has no form as a graph, and ${use}: ${advice}`);
  if (specialists.retrain === 'all') throw refuse('--retrain all', 'take --retrain head or top');
  if (specialists.head === 'full') throw refuse('--specialist-head full', 'leave it out');
  if (specialists.routedShare > 0 && ensemble.rule !== shareInside.name)
    throw refuse(
      'a dustbin whose correction depends on the image (--routed-share)',
      `leave it out, or add --rule ${shareInside.name}, which uses no dustbin`,
    );
}

/** Normalisation by the statistics of a batch cannot learn from one image. */
function checkBatch(flag: string, size: number, normalisation: 'batch' | 'none', other: string): void {
  if (size > 1 || normalisation === 'none') return;
  throw invalid(
    `${flag} 1: batch normalisation needs at least 2 images a step: give ${flag} 2 or more, or ${other}`,
  );
}

function needImages(outline: Outline, split: 'train' | 'validation' | 'test', use: string): void {
  const { images, isExact, source } = outline.dataset ?? {};
  const least = split === 'validation' ? 2 : 1; // calibration fits each half on the other
  if (!images || !isExact || images[split] >= least) return;
  const names = { train: 'training', validation: 'validation', test: 'test' };
  const advice =
    split === 'train'
      ? 'check the folder'
      : `give the source a part "${split}", more images of each class, or a larger --${split}-fraction`;
  throw invalid(
    `${use} needs at least ${least} ${names[split]} image${least > 1 ? 's' : ''}, and ${source} has ${images[split]}: ${advice}`,
  );
}

/** Refuses flags of this command that would change nothing; what a file or the environment says for others stays. */
function ignored(
  origins: ReadonlyMap<string, Origin>,
  isIgnored: boolean,
  reasons: Readonly<Record<string, string>>,
): void {
  if (!isIgnored) return;
  for (const [key, reason] of Object.entries(reasons)) {
    const origin = origins.get(key);
    if (origin?.kind === 'flag') throw invalid(`${origin.where} would do nothing: ${reason}`);
  }
}

function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function invalid(message: string): KdSpecError {
  return new KdSpecError('option-invalid', message);
}
