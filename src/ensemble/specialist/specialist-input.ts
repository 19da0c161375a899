import type { Network } from '../../models/network.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { type OpenBatches, openBatchesAhead } from '../../training/ahead/batches-ahead.js';
import type { TrainingBatch } from '../../training/train.js';
import { cachedFeatureSource } from './cached-feature-source.js';
import { cacheFeatures, featuresFolder } from './cached-features.js';
import type { SpecialistView } from './specialist-examples.js';
import { specialistImageSource } from './specialist-image-source.js';

/** What a specialist trains on. */
interface SpecialistInputOptions {
  readonly batchSize: number;
  readonly specialPerBatch: number;
  /** The subset. */
  readonly classes: readonly number[];
  /** Where the specialist is being trained; cached features lie in a folder of it. */
  readonly directory: string;
  /** The first trained part of the network. */
  readonly from: NetworkPart;
  /** Of the whole training. */
  readonly batches: number;
  /** Batches of images whose features are cached when the lower parts stay frozen. */
  readonly cachedBatches: number;
  /** Stops the caching. */
  readonly signal: AbortSignal;
}

/** The batches of a specialist's training after a number of them, and whatever makes them. */
export interface SpecialistInput extends AsyncDisposable {
  after(batches: number): AsyncIterable<TrainingBatch>;
}

/**
 * The batches that a specialist trains on: augmented images, or features of them that the frozen parts of the
 * generalist computed beforehand. Nothing is opened or computed before it is asked for.
 */
export function specialistInput(
  generalist: Network,
  view: SpecialistView,
  { directory, from, batches, cachedBatches, signal, ...mixture }: SpecialistInputOptions,
): SpecialistInput {
  const { batchSize, specialPerBatch } = mixture;
  const { dataset, seed, specialExamples, otherExamples } = view;
  const images = (purpose: string, count: number) =>
    openBatchesAhead(
      specialistImageSource,
      {
        directory: dataset.directory,
        ...mixture,
        seed,
        specialExamples,
        otherExamples,
        purpose,
        batches: count,
      },
      { epochs: 1, examples: count * batchSize },
    );
  async function* imagesToCache(): AsyncGenerator<TrainingBatch> {
    await using opened = await images('features', cachedBatches);
    yield* opened.batches(0, 0);
  }
  async function open(): Promise<OpenBatches> {
    if (from === 'convolutions') return images('training', batches);
    const folder = featuresFolder(directory);
    await cacheFeatures(folder, generalist, imagesToCache, { from, specialPerBatch, signal });
    return openBatchesAhead(
      cachedFeatureSource,
      { folder, batchSize, specialPerBatch, batches, seed },
      { epochs: 1, examples: batches * batchSize },
    );
  }
  let opened: OpenBatches | undefined;
  return {
    async *after(done) {
      opened ??= await open();
      yield* opened.batches(0, done);
    },
    [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
  };
}
