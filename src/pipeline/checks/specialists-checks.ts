import { KdSpecError } from '../../core/errors.js';
import { shareInside } from '../../ensemble/rules/share-inside.js';
import { parseTimeLimit } from '../../jobs/slurm/slurm-options.js';
import type { Settings } from '../options.js';
import type { Outline } from '../outline.js';
import { allClasses, clustersOf } from '../outline.js';
import {
  type CheckContext,
  examplesOf,
  ignored,
  invalid,
  isMadeElsewhere,
  mayHaveBystanders,
  needImages,
} from './check.js';

// Subsets, their specialists, the ensemble and its evaluation

export function checkSubsets({ settings, origins, outline }: CheckContext): void {
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

export function checkSpecialists({ settings, origins, outline, warn }: CheckContext): void {
  const { specialists } = settings;
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
  if (retrain === 'all' && (needsPredictions(specialists) || head === 'anchored')) {
    throw invalid(
      '--routed-share, --soft-share and --specialist-head anchored or full need cached features, which --retrain all ' +
        'does not have: leave them at their defaults, or give --retrain top or --retrain head',
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
  checkOutside(settings, outline);
  if (slurm.time !== null && engine === 'slurm' && parseTimeLimit(slurm.time) === undefined) {
    throw invalid(`--slurm-time: expected a time such as 90 (minutes) or 4:00:00, got "${slurm.time}"`);
  }
  warnOfNoGraph(specialistsWithoutGraph(settings), warn);
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

/** Whether a specialist of all classes that have examples is left something that it tells them from. */
function checkOutside(settings: Settings, outline: Outline): void {
  const { subsets, ensemble } = settings;
  const { dataset } = outline;
  if (dataset?.isExact !== true || dataset.classes === null || subsets.file !== null) return;
  const isPartition = subsets.specialists === null || subsets.size === null;
  const isOne =
    isPartition && clustersOf(subsets, dataset.classes, dataset.modelClasses ?? dataset.classes) === 1;
  if (!isOne && subsets.size !== dataset.classes) return;
  const ofPartition =
    subsets.clusters === 1
      ? '--clusters 1'
      : subsets.minSize === null
        ? 'the default (--clusters 1)'
        : `--min-size ${subsets.minSize}`;
  const flag = isOne ? ofPartition : `--size ${subsets.size}`;
  const isKnown = dataset.modelClasses !== null || !isMadeElsewhere(settings, dataset);
  if (isKnown && (allClasses(dataset) ?? 0) <= dataset.classes)
    throw invalid(
      `${flag} makes a subset of all classes, and a specialist tells its classes from the others: leave some out`,
    );
  if (mayHaveBystanders(settings, dataset)) return; // what labels these have shows when they are read
  expectNoDustbin(ensemble.rule, `${flag} makes a subset of all classes with ${examplesOf(outline)}`);
}

/**
 * The dustbin of a specialist learns from labelled examples of other classes. Where there are none, only a rule that uses
 * no dustbin can fuse what the specialist predicts.
 *
 * @param rule of the settings
 * @param reason why there are none
 * @throws KdSpecError `option-invalid` where it is another
 */
export function expectNoDustbin(rule: string, reason: string): void {
  if (rule === 'auto' || rule === shareInside.name) return;
  throw invalid(
    `--rule ${rule} uses what a specialist predicts for all other classes, which it learns from labelled examples of ` +
      `some, and ${reason}: give --rule ${shareInside.name}, which does not use it, more subsets, or examples of other ` +
      'classes, two at least and with their labels, with --bystanders PATH',
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

export function checkEnsemble({ settings, origins, outline, warn }: CheckContext): void {
  const { routingMass, calibrate, select } = settings.ensemble;
  warnOfNoGraph(ruleWithoutGraph(settings), warn, { isOpen: settings.ensemble.rule === 'auto' });
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

export function checkReport({ settings, outline }: CheckContext): void {
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
  settings: Pick<Settings, 'specialists' | 'ensemble'>,
  use: string,
): void {
  const found = specialistsWithoutGraph(settings) ?? ruleWithoutGraph(settings);
  if (found) throw invalid(`${found.what} has no form as a graph, and ${use}: ${found.advice}`);
}

/** A choice that no ONNX file can hold, and what to choose instead. */
interface WithoutGraph {
  readonly what: string;
  readonly advice: string;
}

function specialistsWithoutGraph({ specialists }: Pick<Settings, 'specialists'>): WithoutGraph | undefined {
  if (specialists.retrain === 'all') return { what: '--retrain all', advice: 'take --retrain head or top' };
  if (specialists.head === 'full') return { what: '--specialist-head full', advice: 'leave it out' };
  return undefined;
}

function ruleWithoutGraph({
  specialists,
  ensemble,
}: Pick<Settings, 'specialists' | 'ensemble'>): WithoutGraph | undefined {
  if (specialists.routedShare === 0 || ensemble.rule === shareInside.name) return undefined;
  return {
    what: 'a dustbin whose correction depends on the image (--routed-share)',
    advice: `leave it out, or add --rule ${shareInside.name}, which uses no dustbin`,
  };
}

/** Who trains what export would refuse, or might, learns it before. */
function warnOfNoGraph(
  found: WithoutGraph | undefined,
  warn: CheckContext['warn'],
  {
    isOpen = false,
  }: { /** Whether the rule that decides it is chosen later. */ readonly isOpen?: boolean } = {},
): void {
  if (!found) return;
  const { what, advice } = found;
  warn(
    `${what} has no form as a graph${isOpen ? ', unless a rule without dustbins is chosen' : ''}: the ensemble runs here, and ` +
      `kd-spec export ${isOpen ? 'would then' : 'will'} write its weights alone (--format safetensors); for an ONNX file ${advice}`,
  );
}
