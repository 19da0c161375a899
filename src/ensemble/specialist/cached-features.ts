import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { createFeatureWriter, readFeatures } from '../../data/feature-shards.js';
import type { Network } from '../../models/network.js';
import { convolutionalFeatures, hiddenFeatures, type NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import type { TrainingBatch } from '../../training/train.js';
import { endless } from './mixed-stream.js';
import { type SpecialistView, specialistBatches } from './specialist-examples.js';

/** Features for a specialist that trains only the last parts of its network. */
interface CachedFeatures {
  readonly batchSize: number;
  readonly specialPerBatch: number;
  /** Where the specialist is being trained; the cache lies in a folder of it. */
  readonly directory: string;
  /** The first trained part: what is cached is its input. */
  readonly from: Exclude<NetworkPart, 'convolutions'>;
  /** How often each special example is augmented; as many others are drawn. */
  readonly views: number;
  readonly batches: number;
  readonly skipBatches: number;
  /** Stops the caching, which is then begun again by the next sitting. */
  readonly signal: AbortSignal;
}

/** The folder in which a specialist's cached features lie while it trains. */
export function featuresFolder(directory: string): string {
  return join(directory, 'features');
}

/**
 * Batches of the generalist's features, mixed as `specialistBatches` mixes images.
 *
 * The frozen parts run once for each view of an example; the features are written to Arrow shards and streamed from
 * them, in another order each pass. Labels are those of the data set.
 */
export async function* cachedFeatureBatches(
  generalist: Network,
  view: SpecialistView,
  options: CachedFeatures,
): AsyncGenerator<TrainingBatch> {
  const { directory, batchSize, specialPerBatch, batches, skipBatches } = options;
  const folder = featuresFolder(directory);
  if (!(await exists(folder))) await writeFeatures(folder, generalist, view, options);

  const stream = async (name: 'special' | 'others', rowsPerBatch: number) => {
    const features = await readFeatures(join(folder, name));
    const pass = (index: number, skip: number) =>
      features.batches({
        batchSize: rowsPerBatch,
        shuffleSeed: [view.seed, 'features', name, index],
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

/** Runs the frozen parts over every view and writes what comes out, beside its place until it is whole. */
async function writeFeatures(
  folder: string,
  generalist: Network,
  view: SpecialistView,
  { batchSize, specialPerBatch, from, views, signal }: CachedFeatures,
): Promise<void> {
  const partial = `${folder}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const { definition } = generalist;
  const width = from === 'dense' ? convolutionalFeatures(definition) : hiddenFeatures(definition);
  const to = from === 'dense' ? 'convolutions' : 'dense';
  const [special, others] = await Promise.all(
    ['special', 'others'].map((name) => createFeatureWriter(join(partial, name), { width })),
  );
  const batches = Math.ceil((view.specialExamples * views) / specialPerBatch);
  const mixture = { batchSize, specialPerBatch, purpose: 'features', batches };
  try {
    for await (const { inputs, shape, labels } of specialistBatches(view, mixture)) {
      if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before the features were cached');
      const output = tf.tidy(() => runNetwork(generalist, tf.tensor(inputs, [...shape], 'float32'), { to }));
      const features = await output.data<'float32'>(); // (batch, width)
      output.dispose();
      const split = specialPerBatch * width;
      await special.write({ features: features.slice(0, split), labels: labels.slice(0, specialPerBatch) });
      await others.write({ features: features.slice(split), labels: labels.slice(specialPerBatch) });
    }
    await Promise.all([special.close(), others.close()]);
  } catch (error) {
    await Promise.all([special.abort(), others.abort()]);
    throw error;
  }
  await rename(partial, folder);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
