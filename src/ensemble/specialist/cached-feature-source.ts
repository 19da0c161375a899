import { join } from 'node:path';
import { readFeatures } from '../../data/feature-shards.js';
import type { BatchSource } from '../../training/ahead/batch-source.js';
import type { TrainingBatch } from '../../training/train.js';
import { endless } from './mixed-stream.js';

export interface CachedFeatureParameters {
  /** Where the cached features lie. */
  readonly folder: string;
  readonly batchSize: number;
  readonly specialPerBatch: number;
  readonly batches: number;
  readonly seed: number;
}

/**
 * Batches of cached features, mixed as `specialistBatches` mixes images and as one long epoch.
 *
 * They are streamed from Arrow shards, in another order each pass. Labels are those of the data set.
 */
export const cachedFeatureSource: BatchSource<CachedFeatureParameters> = {
  module: import.meta.url,
  name: 'cachedFeatureSource',
  open: async (parameters) => ({ batches: (_, skipBatches) => featureBatches(parameters, skipBatches) }),
};

async function* featureBatches(
  { folder, batchSize, specialPerBatch, batches, seed }: CachedFeatureParameters,
  skipBatches: number,
): AsyncGenerator<TrainingBatch> {
  const stream = async (name: 'special' | 'others', rowsPerBatch: number) => {
    const features = await readFeatures(join(folder, name));
    const pass = (index: number, skip: number) =>
      features.batches({
        batchSize: rowsPerBatch,
        shuffleSeed: [seed, 'features', name, index],
        skipBatches: skip,
        dropLast: true,
      });
    return endless(pass, Math.floor(features.rows / rowsPerBatch), skipBatches);
  };
  const special = await stream('special', specialPerBatch);
  const others = await stream('others', batchSize - specialPerBatch);
  try {
    for (let batch = skipBatches; batch < batches; batch++) {
      const halves = [(await special.next()).value, (await others.next()).value];
      const width = halves[0].features.length / halves[0].labels.length;
      const inputs = new Float32Array(batchSize * width); // (batch, width)
      const labels = new Int32Array(batchSize);
      inputs.set(halves[0].features);
      inputs.set(halves[1].features, halves[0].features.length);
      labels.set(halves[0].labels);
      labels.set(halves[1].labels, halves[0].labels.length);
      yield { inputs, shape: [batchSize, width], labels };
    }
  } finally {
    await Promise.all([closed(special), closed(others)]);
  }
}

/** Ends a stream that is not wanted any more, so that its files are closed. */
async function closed(stream: AsyncIterator<unknown, unknown, undefined>): Promise<void> {
  await stream.return?.();
}
