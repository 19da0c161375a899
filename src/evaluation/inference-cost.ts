import { createPause } from '../core/pause.js';
import type { NetworkEnsemble } from '../ensemble/ensemble.js';
import { firstTrainedPart } from '../ensemble/specialist/specialist.js';
import { batchSizeFor, type Classifier, type ImageBatch } from '../models/classifier.js';
import { networkClassifier } from '../models/network-classifier.js';
import {
  forwardFlops,
  type NetworkPart,
  networkParts,
  networkTensors,
  type TensorSpecification,
} from '../models/network-definition.js';
import type { QueriedSpecialists } from './evaluate-ensemble.js';

const timedMs = 3000; // by the clock
const warmUpMs = 1200;
const mostWarmUps = 8; // calls

/** What it costs to classify an image. */
export interface InferenceCost {
  /** Specialists queried, mean over the images. */
  readonly active: number;
  /** Multiplications and additions an image, without the fusion. */
  readonly generalistFlops: number;
  readonly ensembleFlops: number;
  /** On the machine of the evaluation, in batches. */
  readonly generalistImagesPerSecond: number;
  readonly ensembleImagesPerSecond: number;
  readonly generalistParameters: number;
  /** Of the kept specialists, without what they share with the generalist. */
  readonly specialistParameters: number;
}

/** What predicts without specialists, and with them. */
export interface AloneAndFused {
  readonly generalist: Classifier;
  readonly ensemble: Classifier;
}

/** An ensemble of networks, and its generalist. */
export function aloneAndFused(ensemble: NetworkEnsemble): AloneAndFused {
  const { classes } = ensemble;
  return {
    ensemble,
    generalist: networkClassifier(ensemble.generalist, { name: 'the generalist', classes }),
  };
}

/**
 * What it costs to classify an image: by count, and by the clock, generalist and ensemble in turn over the same images, from
 * images to distributions over all classes.
 *
 * @param batches of `batchSizeFor(classes)` images or fewer
 * @param options.queried what an evaluation counted
 * @param options.timed generalist and ensemble as they are timed: where features that `ensemble` has stored would falsify
 *   its times, or where another runtime predicts
 * @returns undefined without any image
 * @throws KdSpecError `interrupted` between two batches
 */
export async function inferenceCost(
  ensemble: NetworkEnsemble,
  batches: AsyncIterable<ImageBatch>,
  {
    queried,
    signal,
    timed = aloneAndFused(ensemble),
  }: {
    readonly queried: QueriedSpecialists;
    readonly signal: AbortSignal;
    readonly timed?: AloneAndFused;
  },
): Promise<InferenceCost | undefined> {
  const { classes } = ensemble;
  const { definition } = ensemble.generalist;
  const ms = { generalist: 0, ensemble: 0 };
  let examples = 0;
  const out = new Float32Array(batchSizeFor(classes.length) * classes.length);
  const pause = createPause(signal, 'evaluation, while timing inference');
  /** How long a batch takes; a batch of many classes takes a while, and signals have their turn before it. */
  const msOf = async (classifier: Classifier, batch: ImageBatch) => {
    await pause();
    const started = performance.now();
    await classifier.probabilities(batch, { out });
    return performance.now() - started;
  };
  /** A runtime may open more threads for a model that has run for a second: the last call finds them. */
  const warmUp = async (classifier: Classifier, batch: ImageBatch) => {
    let spent = 0;
    for (let call = 0; call < mostWarmUps && spent < warmUpMs; call++) spent += await msOf(classifier, batch);
    await msOf(classifier, batch);
  };
  for await (const batch of batches) {
    if (examples === 0) for (const one of [timed.generalist, timed.ensemble]) await warmUp(one, batch);
    ms.generalist += await msOf(timed.generalist, batch);
    ms.ensemble += await msOf(timed.ensemble, batch);
    examples += batch.count;
    if (ms.generalist + ms.ensemble >= timedMs) break;
  }
  if (examples === 0) return undefined;
  const perSecond = (time: number) => (time > 0 ? (1000 * examples) / time : 0);
  const generalistFlops = forwardFlops(definition);
  return {
    active: queried.count,
    generalistFlops,
    ensembleFlops: generalistFlops + queried.flops,
    generalistImagesPerSecond: perSecond(ms.generalist),
    ensembleImagesPerSecond: perSecond(ms.ensemble),
    generalistParameters: countTensors(networkTensors(definition)),
    specialistParameters: specialistParameters(ensemble),
  };
}

/** How many numbers the kept specialists hold, without what they share with the generalist. */
export function specialistParameters({ specialists, settings }: NetworkEnsemble): number {
  return specialists.reduce(
    (sum, { config }, position) =>
      settings.specialists[position].kept
        ? sum + countTensors(trainedTensors(networkTensors(config.network), firstTrainedPart[config.retrain]))
        : sum,
    0,
  );
}

function trainedTensors(tensors: readonly TensorSpecification[], from: NetworkPart) {
  return tensors.filter(({ part }) => networkParts.indexOf(part) >= networkParts.indexOf(from));
}

function countTensors(tensors: readonly TensorSpecification[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0);
}
