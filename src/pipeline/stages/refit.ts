import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import { percent } from '../../core/percent.js';
import { count, duration } from '../../core/quantity-text.js';
import { openBystanders } from '../../data/bystanders.js';
import { openDataset } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import { firstClass } from '../../math/rank.js';
import { checkpointFiles, headTensors, loadGeneralist } from '../../models/checkpoint.js';
import { plainLayer, scaleOf, standardise, standardisedLayer } from '../../models/feature-scale.js';
import { networkValues } from '../../models/network.js';
import { cutNetwork } from '../../models/network-backbone.js';
import { writeSafetensors } from '../../models/safetensors.js';
import { classesInPlay, eachOfHead, type FeatureSet, type Head } from '../../training/heads/fit-head.js';
import { refitHead } from '../../training/heads/train-head.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';
import { viewsOfDataset } from '../views.js';
import {
  expectTrainable,
  headFrom,
  readFeaturesOf,
  readTrainingViews,
  viewsInMemory,
} from './feature-sets.js';

const mostEpochs = 20;
const mostValidation = 20_000; // images that decide when the training ends

/**
 * Gives an imported generalist its last layer refitted on the training images, mixed with the one that it came with,
 * which is kept beside it.
 *
 * Images of some classes teach more than those classes: what a scanner or a camera does to all of them. Specialists on
 * the mixture start from there.
 *
 * @param context whose directory holds the generalist as it was imported
 * @throws KdSpecError `option-invalid` for a layer or images that no memory holds, `interrupted`
 */
export async function refitImported(
  context: StageContext,
): Promise<NonNullable<NonNullable<StageResults['generalist']['imported']>['refit']>> {
  const { settings, directory, log, signal } = context;
  const { share, views } = settings.generalist.refit;
  const dataset = await openDataset(context.input('dataset'));
  const { splits, image, classes } = dataset;
  const bystanders = await openBystanders(context.input('dataset'));
  const { name, operations } = await selectBackend(settings.backend);
  const generalist = await loadGeneralist(directory, operations, { store: context.store });
  const { backbone } = cutNetwork(generalist, 'head');
  try {
    const { width } = backbone;
    expectTrainable('--refit-share trains', width, classes.length, 'leave it out');
    const shared = {
      folder: join(directory, 'features'),
      views: viewsInMemory('the last layer is', viewsOfDataset(settings, dataset, bystanders, views), {
        dataset,
        backbone,
        advice: 'leave --refit-share out',
        log,
      }),
    };
    const train = await readTrainingViews(
      shared,
      { backbone, dataset, seed: settings.seed },
      { log, signal },
    );
    const validation = await readFeaturesOf(backbone, splits.validation, {
      shape: image,
      most: mostValidation,
      signal,
    });
    const scale = scaleOf(train);
    standardise(train, scale);
    standardise(validation, scale);
    const own = headFrom(await networkValues(generalist), generalist.definition);
    const pictured = await countLabels(splits.train, classes.length);
    const trainedOn = {
      operations,
      head: standardisedLayer(own, scale),
      train,
      validation,
      imagesPerEpoch: splits.train.rows,
      isPictured: Uint8Array.from(pictured, (images) => Number(images > 0)),
      epochs: mostEpochs,
      seed: settings.seed,
      signal,
    };
    const inPlay = await classesInPlay(trainedOn);
    const { head, fit } = await refitHead({ ...trainedOn, inPlay }, share);
    const [before, after] = [
      await top1Of(trainedOn.head, validation, { operations, signal }),
      await top1Of(head, validation, { operations, signal }),
    ];
    await rename(join(directory, checkpointFiles.model), join(directory, checkpointFiles.original));
    const written = { ...head, ...plainLayer(head, scale) };
    await writeSafetensors(join(directory, checkpointFiles.model), headTensors(written));
    await rm(shared.folder, { recursive: true, force: true });
    log.info(
      `last layer refitted over ${count(inPlay.length)} classes and mixed in by ${percent(share)}: validation top-1 ` +
        `${percent(before)} to ${percent(after)}, ${duration(fit.seconds)}`,
    );
    return {
      share,
      backend: name,
      classes: inPlay.length,
      seconds: fit.seconds,
      flops: fit.flops,
      before,
      after,
    };
  } finally {
    backbone.dispose();
  }
}

async function top1Of(
  head: Head,
  set: FeatureSet,
  context: { readonly operations: Operations; readonly signal: AbortSignal },
): Promise<number> {
  let correct = 0;
  await eachOfHead({ ...context, head }, set, ({ start, logits }) => {
    for (let at = 0, row = start; at < logits.length; at += head.classes, row++)
      correct += Number(firstClass(logits.subarray(at, at + head.classes)) === set.labels[row]);
  });
  return correct / Math.max(1, set.rows);
}
