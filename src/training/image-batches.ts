import type { ImageBatch } from '../data/batches.js';
import type { ImageShape } from '../data/source.js';
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
