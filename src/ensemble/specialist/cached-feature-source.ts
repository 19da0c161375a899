import { join } from 'node:path';
import { type Features, readFeatures } from '../../data/feature-shards.js';
import type { TrainingBatch } from '../../training/train.js';
import { fullTeacher } from './full-answers.js';
import { endless } from './mixed-stream.js';
import { softTeacher } from './soft-answers.js';

export interface CachedFeatureParameters {
  /** Where the cached features lie. */
  readonly folder: string;
  readonly batchSize: number;
  readonly specialPerBatch: number;
  readonly seed: number;
  /** What follows each row of features, if anything does. */
  readonly teaching?: Teaching | undefined;
}

/** How many numbers behind a row of features say what it is taught, and how they are read. */
export type Teaching = { readonly width: number } & (
  | { readonly head: 'dustbin'; readonly softShare: number }
  | { readonly head: 'full'; readonly inside: number; readonly outputs: number }
);

/** A part of a stream of batches. */
export interface BatchRange {
  /** Names the random order. */
  readonly purpose: string;
  /** At which it ends. */
  readonly batches: number;
  /** Consumed before. */
  readonly skipBatches: number;
}

/** The cached features of a specialist. */
export interface CachedFeatureSource {
  /** Batches until the first row comes again. */
  readonly batchesPerPass: number;
  /**
   * Batches mixed as `specialistBatches` mixes images; labels are those of the data set. Each is good until the next
   * is asked for, which may be written into the same memory.
   */
  batches(range: BatchRange): AsyncGenerator<TrainingBatch>;
}

/**
 * Opens the cached features of a specialist.
 *
 * They are streamed from Arrow shards, in another order each pass. To make a batch is to copy its rows, which costs
 * less than to take it over from a thread.
 */
export async function openCachedFeatures(parameters: CachedFeatureParameters): Promise<CachedFeatureSource> {
  const special = await readFeatures(join(parameters.folder, 'special'));
  const others = await readFeatures(join(parameters.folder, 'others'));
  const { batchSize, specialPerBatch } = parameters;
  const passes = [special.rows / specialPerBatch, others.rows / (batchSize - specialPerBatch)];
  return {
    batchesPerPass: Math.floor(Math.min(...passes)),
    batches: (range) => featureBatches({ special, others }, parameters, range),
  };
}

async function* featureBatches(
  features: { readonly special: Features; readonly others: Features },
  { batchSize, specialPerBatch, seed, teaching }: CachedFeatureParameters,
  { purpose, batches, skipBatches }: BatchRange,
): AsyncGenerator<TrainingBatch> {
  const { width } = features.special;
  const inputs = new Float32Array(batchSize * width); // (batch, width)
  const labels = new Int32Array(batchSize);
  const stream = (name: 'special' | 'others', start: number, end: number) => {
    const rows = {
      features: inputs.subarray(start * width, end * width),
      labels: labels.subarray(start, end),
    };
    const pass = (index: number, skip: number) =>
      features[name].batches({
        batchSize: end - start,
        shuffleSeed: [seed, purpose, name, index],
        skipBatches: skip,
        dropLast: true,
        into: rows,
      });
    return endless(pass, Math.floor(features[name].rows / (end - start)), skipBatches);
  };
  const special = stream('special', 0, specialPerBatch);
  const others = stream('others', specialPerBatch, batchSize);
  try {
    for (let batch = skipBatches; batch < batches; batch++) {
      await special.next();
      await others.next();
      if (teaching === undefined) yield { inputs, shape: [batchSize, width], labels };
      else yield taught(inputs, labels, teaching);
    }
  } finally {
    await Promise.all([closed(special), closed(others)]);
  }
}

/** Takes rows of features and answers, (batch, width + teaching.width), apart. */
function taught(rows: Float32Array, labels: Int32Array, teaching: Teaching): TrainingBatch {
  const batch = labels.length;
  const width = rows.length / batch - teaching.width;
  const inputs = new Float32Array(batch * width); // (batch, width)
  const answers = new Float32Array(batch * teaching.width); // (batch, teaching.width)
  for (let row = 0; row < batch; row++) {
    const start = row * (width + teaching.width);
    const end = start + width + teaching.width;
    inputs.set(rows.subarray(start, start + width), row * width);
    answers.set(rows.subarray(start + width, end), row * teaching.width);
  }
  const teacher = teaching.head === 'full' ? fullTeacher(answers, teaching) : softTeacher(answers, teaching);
  return { inputs, shape: [batch, width], labels, teacher };
}

/** Ends a stream that is not wanted any more, so that its files are closed. */
async function closed(stream: AsyncIterator<unknown, unknown, undefined>): Promise<void> {
  await stream.return?.();
}
