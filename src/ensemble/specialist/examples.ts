import { createRandom } from '../../core/random.js';
import { createAugmenter } from '../../data/augmentation.js';
import { batchExamples } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { type Example, examples } from '../../data/examples.js';
import type { BatchSource } from '../../training/batches-ahead.js';
import { imageTrainingBatches } from '../../training/image-batches.js';
import type { TrainingBatch } from '../../training/train.js';

/** The training data as one specialist sees them. */
export interface SpecialistView {
  readonly dataset: Dataset;
  /** Whether a class belongs to the subset. */
  readonly isSpecial: (label: number) => boolean;
  readonly specialExamples: number;
  readonly otherExamples: number;
  readonly seed: number;
}

/** How special and other examples are mixed. */
export interface Mixture {
  readonly batchSize: number;
  readonly specialPerBatch: number;
  /** Names the random order and the augmentation. */
  readonly purpose: string;
  readonly batches: number;
  /** Batches consumed before. */
  readonly skipBatches?: number;
}

/**
 * Batches of augmented images, each with `specialPerBatch` examples of the subset and the rest at random, by their
 * true frequencies, from all other classes. Classes are those of the data set.
 */
export async function* specialistBatches(
  view: SpecialistView,
  { batchSize, specialPerBatch, purpose, batches, skipBatches = 0 }: Mixture,
): AsyncGenerator<TrainingBatch> {
  const { dataset, seed } = view;
  const mixed = mixStreams(
    endlessExamples(view, true, purpose, skipBatches * specialPerBatch),
    endlessExamples(view, false, purpose, skipBatches * (batchSize - specialPerBatch)),
    { specialPerBatch, batchSize, total: (batches - skipBatches) * batchSize },
  );
  const augment = createAugmenter(dataset.augmentation, dataset.image);
  // An image that comes again is augmented again: the random stream is named by the place in the whole stream.
  const augmented = batchExamples(numbered(mixed, skipBatches * batchSize), dataset.image, {
    batchSize,
    augment: (pixels, position, out, offset) =>
      augment(pixels, createRandom(seed, purpose, 'augment', position), out, offset),
  });
  yield* imageTrainingBatches(augmented, dataset.image);
}

function endlessExamples(
  { dataset, isSpecial, specialExamples, otherExamples, seed }: SpecialistView,
  special: boolean,
  purpose: string,
  skip: number,
): AsyncGenerator<Example> {
  return endless(
    (pass, skipInPass) =>
      examples(dataset.splits.train, {
        shuffleSeed: [seed, purpose, special ? 'special' : 'others', pass],
        keep: (label) => isSpecial(label) === special,
        skip: skipInPass,
      }),
    special ? specialExamples : otherExamples,
    skip,
  );
}

/** The same examples, with their place in the stream as the row. */
async function* numbered(stream: AsyncIterable<Example>, start: number): AsyncGenerator<Example> {
  let position = start;
  for await (const example of stream) yield { ...example, row: position++ };
}

/**
 * A stream without end, made of passes over the same items, each in its own order.
 *
 * @param pass the items of a pass (0 for the first) after the first `skip` ones
 * @param itemsPerPass how many items every pass has, at least 1
 * @param skip items of the whole stream that were consumed before
 */
export async function* endless<Item>(
  pass: (index: number, skip: number) => AsyncIterable<Item>,
  itemsPerPass: number,
  skip: number,
): AsyncGenerator<Item, never, undefined> {
  let index = Math.floor(skip / itemsPerPass);
  yield* pass(index, skip % itemsPerPass);
  while (true) yield* pass(++index, 0);
}

/**
 * Special and other examples in turn, so that every batch holds the same number of each (section 5.2: half of a
 * specialist's training examples are of its classes, half are random ones of the rest).
 *
 * @param special an endless stream of examples of the subset's classes
 * @param others an endless stream of examples of all other classes
 * @param specialPerBatch how many of a batch are special
 * @param batchSize items until the pattern repeats
 * @param total items after which the stream ends
 */
export async function* mixStreams<Item>(
  special: AsyncIterator<Item>,
  others: AsyncIterator<Item>,
  { specialPerBatch, batchSize, total }: { specialPerBatch: number; batchSize: number; total: number },
): AsyncGenerator<Item> {
  try {
    for (let position = 0; position < total; position++) {
      const source = position % batchSize < specialPerBatch ? special : others;
      const { value, done } = await source.next();
      if (done) return;
      yield value;
    }
  } finally {
    await Promise.all([special.return?.(), others.return?.()]);
  }
}

export interface SpecialistImageParameters extends Omit<Mixture, 'skipBatches'> {
  /** The folder of the data set. */
  readonly directory: string;
  /** The subset. */
  readonly classes: readonly number[];
  readonly specialExamples: number;
  readonly otherExamples: number;
  readonly seed: number;
}

/** `specialistBatches` as one long epoch. */
export const specialistImageSource: BatchSource<SpecialistImageParameters> = {
  module: import.meta.url,
  name: 'specialistImageSource',
  async open({ directory, classes, specialExamples, otherExamples, seed, ...mixture }) {
    const dataset = await openDataset(directory);
    const members = new Set(classes);
    const isSpecial = (label: number) => members.has(label);
    const view = { dataset, isSpecial, specialExamples, otherExamples, seed };
    return { batches: (_, skipBatches) => specialistBatches(view, { ...mixture, skipBatches }) };
  },
};
