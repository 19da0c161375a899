import { assert } from '../../core/errors.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { type OpenBatches, openBatchesAhead } from '../../training/batches-ahead.js';
import type { TrainingBatch } from '../../training/train.js';
import {
  type AnchorMaker,
  type CachedFeatureSource,
  cacheFeatures,
  featuresFolder,
  openCachedFeatures,
} from './cached-features.js';
import { type SpecialistView, specialistBatches, specialistImageSource } from './examples.js';
import type { OutsiderMasses, SharedFeatures } from './shared-features.js';
import type { TargetMaker, Teaching } from './soft-targets.js';

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
  /** Soft targets from the generalist's predictions, and how they are read; none: labels alone. */
  readonly soft: { readonly maker: TargetMaker; readonly teaching: Teaching } | undefined;
  /** Of an anchored dustbin; none: it has a row of its own. */
  readonly anchor: AnchorMaker | undefined;
  /** Stops the caching. */
  readonly signal: AbortSignal;
}

/** What a specialist sees, as inputs of the first part of the network that it trains. */
export interface SpecialistInput extends AsyncDisposable {
  /** The batches of its training after a number of them. Each is good until the next is drawn. */
  after(batches: number): AsyncIterable<TrainingBatch>;
  /** At most so many batches of the same mixture, in an order of their own; always the same. */
  sample(batches: number): AsyncIterable<TrainingBatch>;
}

/**
 * The batches that a specialist trains on: augmented images, or features of them that the frozen parts of the
 * generalist computed beforehand. Nothing is opened or computed before it is needed.
 */
export function specialistInput(view: SpecialistView, options: SpecialistInputOptions): SpecialistInput {
  return options.from === 'convolutions' ? imageInput(view, options) : featureInput(view, options);
}

function imageInput(
  view: SpecialistView,
  { batchSize, specialPerBatch, classes, batches }: SpecialistInputOptions,
): SpecialistInput {
  const { dataset, seed, specialExamples, otherExamples } = view;
  const mixture = { batchSize, specialPerBatch };
  const open = () =>
    openBatchesAhead(
      specialistImageSource,
      {
        directory: dataset.directory,
        ...{ ...mixture, classes, specialExamples, otherExamples, batches, seed },
        purpose: 'training',
      },
      { epochs: 1, examples: batches * batchSize },
    );
  let opened: OpenBatches | undefined;
  return {
    async *after(done) {
      opened ??= await open();
      yield* opened.batches(0, done);
    },
    sample: (count) => specialistBatches(view, { ...mixture, purpose: samplePurpose, batches: count }),
    [Symbol.asyncDispose]: async () => opened?.[Symbol.asyncDispose](),
  };
}

function featureInput(
  view: SpecialistView,
  {
    directory,
    batchSize,
    specialPerBatch,
    batches,
    shared,
    masses,
    soft,
    anchor,
    signal,
  }: SpecialistInputOptions,
): SpecialistInput {
  const { seed, specialExamples } = view;
  async function open(): Promise<CachedFeatureSource> {
    assert(shared !== undefined, 'features were shared before a specialist that needs them');
    const folder = featuresFolder(directory);
    // As many batches of others as of special examples; one row more, because sums of fractions are rounded.
    const cached = Math.ceil((specialExamples * shared.views) / specialPerBatch);
    const others = view.otherExamples === 0 ? 0 : cached * (batchSize - specialPerBatch) + 1;
    await cacheFeatures(folder, shared, view, {
      leastSpecial: specialPerBatch,
      others,
      masses,
      soft: soft?.maker,
      anchor,
      signal,
    });
    return openCachedFeatures({
      folder,
      batchSize,
      specialPerBatch,
      seed,
      teaching: soft?.teaching,
      isAnchored: anchor !== undefined,
    });
  }
  let opened: CachedFeatureSource | undefined;
  return {
    async *after(skipBatches) {
      opened ??= await open();
      yield* opened.batches({ purpose: 'features', batches, skipBatches });
    },
    async *sample(count) {
      opened ??= await open();
      const batches = Math.min(count, opened.batchesPerPass);
      yield* opened.batches({ purpose: samplePurpose, batches, skipBatches: 0 });
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

const samplePurpose = 'dustbin row';
