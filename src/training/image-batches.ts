import { createRandom } from '../core/random.js';
import { createAugmenter } from '../data/augmentation.js';
import { type ImageBatch, imageBatches } from '../data/batches.js';
import { openDataset } from '../data/dataset.js';
import type { ImageShape } from '../data/source.js';
import type { BatchSource } from './batches-ahead.js';
import type { TrainingBatch } from './train.js';

/** Batches of images as the training loop takes them. */
export async function* imageTrainingBatches(
  batches: AsyncIterable<ImageBatch>,
  { height, width, channels }: ImageShape,
): AsyncGenerator<TrainingBatch> {
  for await (const { images, labels } of batches) {
    yield { inputs: images, shape: [labels.length, height, width, channels], labels };
  }
}

export interface ImageSourceParameters {
  /** The folder of the data set, of which the training split is used. */
  readonly directory: string;
  readonly seed: number;
  /** Names the order of an epoch, together with the seed. */
  readonly purpose: string;
  readonly batchSize: number;
  /** Whether images are augmented as the data set says (the default); else they stay as they are. */
  readonly isAugmented?: boolean;
}

/** Every training image once an epoch, in a new order and with a new augmentation. */
export const imageSource: BatchSource<ImageSourceParameters> = {
  module: import.meta.url,
  name: 'imageSource',
  async open({ directory, seed, purpose, batchSize, isAugmented = true }) {
    const { splits, image, augmentation } = await openDataset(directory);
    const augment = createAugmenter(isAugmented ? augmentation : { kind: 'none' }, image);
    return {
      batches: (epoch, skipBatches) =>
        imageTrainingBatches(
          imageBatches(splits.train, image, {
            batchSize,
            epochSeed: [seed, purpose, 'epoch', epoch],
            skipBatches,
            augment: (pixels, row, out, offset) =>
              augment(pixels, createRandom(seed, 'augment', epoch, row), out, offset),
          }),
          image,
        ),
    };
  },
};
