import { createRandom } from '../../core/random.js';
import { createAugmenter } from '../../data/augmentation.js';
import { batchExamples } from '../../data/batches.js';
import type { Dataset } from '../../data/dataset.js';
import { type Example, examples } from '../../data/examples.js';
import { imageTrainingBatches } from '../../training/image-batches.js';
import type { TrainingBatch } from '../../training/train.js';
import { endless, mixStreams } from './mixed-stream.js';

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
  // An image that comes again is augmented anew: the random stream is named by the place in the whole stream.
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
