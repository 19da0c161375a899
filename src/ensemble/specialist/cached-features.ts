import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { createFeatureWriter } from '../../data/feature-shards.js';
import type { Network } from '../../models/network.js';
import { convolutionalFeatures, hiddenFeatures, type NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import type { TrainingBatch } from '../../training/train.js';

/** The folder in which a specialist's cached features lie while it trains. */
export function featuresFolder(directory: string): string {
  return join(directory, 'features');
}

/**
 * Caches the features for a specialist that trains only the last parts of its network, unless they are cached.
 *
 * The frozen parts run once over every batch; the features are written to Arrow shards, beside their place until
 * they are whole: `special` holds the first rows of each batch, `others` the rest.
 *
 * @param folder see {@link featuresFolder}
 * @param generalist whose parts before `from` are run
 * @param images opens the batches of images, each with `specialPerBatch` special ones first
 * @param options.from the first trained part: what is cached is its input
 * @param options.signal stops the caching, which is then begun again by the next sitting
 * @throws KdSpecError `interrupted`, `disk-full`
 */
export async function cacheFeatures(
  folder: string,
  generalist: Network,
  images: () => AsyncIterable<TrainingBatch>,
  {
    from,
    specialPerBatch,
    signal,
  }: {
    readonly from: Exclude<NetworkPart, 'convolutions'>;
    readonly specialPerBatch: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  if (await exists(folder)) return;
  const partial = `${folder}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const { definition } = generalist;
  const width = from === 'dense' ? convolutionalFeatures(definition) : hiddenFeatures(definition);
  const to = from === 'dense' ? 'convolutions' : 'dense';
  const [special, others] = await Promise.all(
    ['special', 'others'].map((name) => createFeatureWriter(join(partial, name), { width })),
  );
  try {
    for await (const { inputs, shape, labels } of images()) {
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
