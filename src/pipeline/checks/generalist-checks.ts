import { importers, type ListedImporter } from '../../data/importers/importers.js';
import { sidesOf } from '../../data/source.js';
import { settingAt } from '../settings.js';
import {
  type CheckContext,
  checkBatch,
  examplesOf,
  flagOf,
  groupAdvice,
  ignored,
  invalid,
  isMadeElsewhere,
  mayHaveBystanders,
  needImages,
  patchedBefore,
} from './check.js';

// The data set, the generalist that is trained or imported, and its predictions

const fewValidationImages = 3; // a class, on average: what fewer choose is mostly noise

export function checkDataset(context: CheckContext): void {
  const { settings, origins, outline, warn } = context;
  const { dataset } = settings;
  const kind = outline.dataset?.kind;
  const isTrained = !isMadeElsewhere(settings, outline.dataset);
  ignored(origins, dataset.bystanders !== null || isTrained, {
    'dataset.holdOut':
      dataset.bystanders === null
        ? `every class of a generalist that is trained here has ${examplesOf(outline)} (--onnx imports one, and logits beside features are one)`
        : `--bystanders gives the ${examplesOf(outline)}`,
  });
  if (kind === undefined) return;
  const chosen = checkSourceOptions(context, kind);
  if (kind === 'features') checkFeatures(context);
  if (kind === 'han') {
    const needed = ['classes', 'imageSize', 'fonts', 'minimumDesigns', 'validationDesigns', 'testDesigns'];
    const missing = needed.find((key) => settingAt(settings, ['dataset', key]) === null);
    if (missing) throw invalid(`the han data set needs a value for ${flagOf(missing)}, not none`);
    if (dataset.imageSize !== null && sidesOf(dataset.imageSize).height > 256) {
      throw invalid(`--image-size ${dataset.imageSize}: the han data set has images of at most 256 pixels`);
    }
  }
  if (outline.dataset?.classes !== null && Number(outline.dataset?.classes) < 2) {
    throw invalid(
      `--source ${dataset.source}: expected images of at least 2 classes, found ${outline.dataset?.classes}: ` +
        (chosen?.options.includes('labelColumn')
          ? 'if another column has the labels, name it with --label-column'
          : 'put each class into a folder of its own, or give the table that lists paths and labels (--source labels.csv)'),
    );
  }
  const { images, classes } = outline.dataset ?? {};
  const examples = examplesOf(outline);
  if (images && classes && images.validation < fewValidationImages * classes) {
    warn(
      `${images.validation.toLocaleString('en')} validation ${examples} for ${classes.toLocaleString('en')} classes, ` +
        `${(images.validation / classes).toFixed(1)} of each: what they choose (rule, weights, which specialists are ` +
        `kept) is little more than chance. ${
          dataset.group === null
            ? `More ${examples}, or a larger --validation-fraction, help`
            : groupAdvice(dataset.group)
        }`,
    );
  }
  if (images?.test === 0 && dataset.group !== null)
    warn(`no test ${examples}, so that nothing will be measured. ${groupAdvice(dataset.group)}`);
}

/**
 * Refuses options that the kind of source does not take: they would do nothing. What is not known of the plan does not
 * matter here, so that a look at a source (`init`) can refuse what a run would.
 *
 * @param kind name of the importer
 * @returns the importer, where there is one of this name
 */
export function checkSourceOptions(
  { settings, origins }: Pick<CheckContext, 'settings' | 'origins'>,
  kind: string,
): ListedImporter | undefined {
  const { dataset } = settings;
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
  if (chosen?.isGenerator && typeof dataset.imageSize === 'string')
    throw invalid(
      `--image-size ${dataset.imageSize}: the ${chosen.name} data set has square images: give one number`,
    );
  if (kind === 'features' && dataset.model.onnx !== null) {
    throw invalid(`--onnx takes images, and ${dataset.source} holds features: leave one of the two out`);
  }
  return chosen;
}

/** Rows of features have no neighbours to convolve. */
function checkFeatures(context: CheckContext): void {
  const { settings, origins, outline } = context;
  const { source } = settings.dataset;
  for (const key of ['generalist.network.convolutions', 'student.network.convolutions']) {
    const origin = origins.get(key);
    const value = settingAt(settings, key.split('.'));
    if (origin?.kind !== 'flag' || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(
      `${origin.where}: features have no neighbours to convolve: leave it out (dense layers are --dense)`,
    );
  }
  if (outline.dataset?.image?.logits === undefined) return;
  ignoreTraining(context, `the logits of ${source} are the generalist, and none is trained`);
}

/** What shapes and trains a generalist does nothing for one that is not trained. */
function ignoreTraining({ settings, origins }: CheckContext, reason: string): void {
  const { network, head, refit: _, ...training } = settings.generalist;
  const keys = [
    ...Object.keys(training),
    ...Object.keys(network).map((key) => `network.${key}`),
    ...Object.keys(head).map((key) => `head.${key}`),
  ];
  ignored(origins, true, Object.fromEntries(keys.map((key) => [`generalist.${key}`, reason])));
}

export function checkGeneralist(context: CheckContext): void {
  const { settings, origins, outline } = context;
  if (settings.dataset.model.onnx !== null) {
    ignoreTraining(context, 'the generalist is imported (--onnx) and not trained');
    checkRefit(context);
    return;
  }
  const isForImported = 'it refits the last layer of an imported model (--onnx FILE)';
  ignored(origins, true, {
    'generalist.refit.share': isForImported,
    'generalist.refit.views': isForImported,
  });
  checkHints(context);
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

/** Refuses what tells how a foreign model is read where there is none. */
export function checkHints({ settings, origins }: Pick<CheckContext, 'settings' | 'origins'>): void {
  const { onnx, ...hints } = settings.dataset.model;
  const reason = 'it tells how a foreign model is read (--onnx FILE)';
  const keys = Object.keys(hints).map((key) => `dataset.model.${key}`);
  ignored(origins, onnx === null, Object.fromEntries(keys.map((key) => [key, reason])));
}

/** A file that was patched has specialists that were calibrated for the last layer that it has. */
function checkRefit({ settings, origins, outline, warn }: CheckContext): void {
  const { share } = settings.generalist.refit;
  ignored(origins, share === 0, { 'generalist.refit.views': 'no layer is refitted (--refit-share)' });
  if (share === 0) return;
  if (settings.ensemble.risk !== null) {
    throw invalid(
      '--risk shows that specialists are better than what they stand on, which is not the model as it was with ' +
        '--refit-share: leave one of the two out',
    );
  }
  needImages(outline, 'validation', '--refit-share');
  if (outline.dataset?.isPatched) {
    throw patchedBefore(settings.dataset.model.onnx ?? '');
  }
  if (outline.dataset && !mayHaveBystanders(settings, outline.dataset)) {
    warn(
      '--refit-share changes the last layer for classes without images, too, and no bystanders measure what that costs ' +
        'them: give --bystanders PATH',
    );
  }
}

export function checkPredictions({ settings, outline }: CheckContext): void {
  needImages(
    outline,
    settings.predictions.split,
    `finding what is confused (--predict-split ${settings.predictions.split})`,
  );
}
