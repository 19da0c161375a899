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
  /** s + 1, when each row of features is followed by the generalist's answer. */
  readonly softOutputs?: number | undefined;
  /** How much that answer counts beside the label, in [0, 1]. */
  readonly softShare?: number | undefined;
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
  {
    folder,
    batchSize,
    specialPerBatch,
    batches,
    seed,
    softOutputs = 0,
    softShare = 0,
  }: CachedFeatureParameters,
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
      if (softOutputs === 0) yield { inputs, shape: [batchSize, width], labels };
      else yield taught(inputs, labels, softOutputs, softShare);
    }
  } finally {
    await Promise.all([closed(special), closed(others)]);
  }
}

/** Takes rows of features and answers, (batch, width + outputs), apart. */
function taught(rows: Float32Array, labels: Int32Array, outputs: number, softShare: number): TrainingBatch {
  const batch = labels.length;
  const width = rows.length / batch - outputs;
  const inputs = new Float32Array(batch * width); // (batch, width)
  const values = new Float32Array(batch * outputs); // (batch, outputs)
  for (let row = 0; row < batch; row++) {
    const start = row * (width + outputs);
    inputs.set(rows.subarray(start, start + width), row * width);
    values.set(rows.subarray(start + width, start + width + outputs), row * outputs);
  }
  const offsets = Int32Array.from({ length: batch + 1 }, (_, row) => row * outputs);
  const indices = Int32Array.from(values, (_, entry) => entry % outputs);
  return {
    inputs,
    shape: [batch, width],
    labels,
    teacher: {
      kind: 'probabilities',
      probabilities: { rows: batch, columns: outputs, offsets, indices, values },
      rest: 'spread',
      temperature: 1,
      softWeights: new Float32Array(batch).fill(softShare),
      hardWeights: new Float32Array(batch).fill(1 - softShare),
    },
  };
}

/** Ends a stream that is not wanted any more, so that its files are closed. */
async function closed(stream: AsyncIterator<unknown, unknown, undefined>): Promise<void> {
  await stream.return?.();
}
