import { createRandom } from '../../core/random.js';
import { createAugmenter } from '../../data/augmentation.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset } from '../../data/dataset.js';
import { imageTrainingBatches } from '../image-batches.js';
import type { BatchSource } from './batch-source.js';

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

/** Every training image once an epoch, in a new order and augmented anew. */
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
