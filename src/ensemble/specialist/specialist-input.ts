import { assert } from '../../core/errors.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { type OpenBatches, openBatchesAhead } from '../../training/ahead/batches-ahead.js';
import type { TrainingBatch } from '../../training/train.js';
import { cachedFeatureSource } from './cached-feature-source.js';
import { cacheFeatures, featuresFolder } from './cached-features.js';
import type { OutsiderMasses } from './outsiders.js';
import type { SharedFeatures } from './shared-features.js';
import type { SoftAnswers } from './soft-answers.js';
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
  /** What the frozen parts of the generalist make of the training images, when any are frozen. */
  readonly shared: SharedFeatures | undefined;
  /** By what outsiders are drawn from the shared features; none: uniformly. */
  readonly masses: OutsiderMasses | undefined;
  /** The generalist's answers as soft targets, and how much they count; none: labels alone. */
  readonly soft: SoftAnswers | undefined;
  readonly softShare: number;
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
  view: SpecialistView,
  { directory, from, batches, shared, masses, soft, softShare, signal, ...mixture }: SpecialistInputOptions,
): SpecialistInput {
  const { batchSize, specialPerBatch } = mixture;
  const { dataset, seed, specialExamples, otherExamples } = view;
  async function open(): Promise<OpenBatches> {
    if (from === 'convolutions') {
      const counts = { specialExamples, otherExamples, batches };
      return openBatchesAhead(
        specialistImageSource,
        { directory: dataset.directory, ...mixture, ...counts, seed, purpose: 'training' },
        { epochs: 1, examples: batches * batchSize },
      );
    }
    assert(shared !== undefined, 'features were shared before a specialist that needs them');
    const folder = featuresFolder(directory);
    // As many batches of others as of special examples; one row more, because sums of fractions are rounded.
    const cached = Math.ceil((specialExamples * shared.views) / specialPerBatch);
    const others = cached * (batchSize - specialPerBatch) + 1;
    await cacheFeatures(folder, shared, view, {
      leastSpecial: specialPerBatch,
      others,
      masses,
      soft,
      signal,
    });
    return openBatchesAhead(
      cachedFeatureSource,
      { folder, batchSize, specialPerBatch, batches, seed, softOutputs: soft?.outputs, softShare },
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
