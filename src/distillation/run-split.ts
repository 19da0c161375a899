import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../core/errors.js';
import { type ImageBatch, imageBatches } from '../data/batches.js';
import type { Split } from '../data/dataset.js';
import type { ImageShape } from '../data/source.js';
import type { Network } from '../models/network.js';
import { runNetwork } from '../models/run-network.js';

/** What is measured of a classifier on a split: a type, not an interface, so that it is JSON. */
export type SplitAccuracy = {
  readonly examples: number;
  readonly errors: number;
  readonly top1: number;
  /** The same for examples of the classes that were never seen; of none where all were. */
  readonly unseen: { readonly examples: number; readonly errors: number };
};

interface RunOptions {
  readonly signal: AbortSignal;
  /** Stops after the batch in which this many are done. */
  readonly maxRows?: number;
}

const batchSize = 256; // images a forward pass

/**
 * A network's logits for images.
 *
 * @param batches of the size that goes through the network at once
 * @param each gets the label and the logits (classes), a view that is good during the call
 * @throws KdSpecError `interrupted`
 */
export async function runImages(
  network: Network,
  batches: AsyncIterable<ImageBatch>,
  each: (label: number, logits: Float32Array) => void,
  { signal, maxRows = Number.POSITIVE_INFINITY }: RunOptions,
): Promise<void> {
  const { outputs, input } = network.definition;
  let done = 0;
  for await (const { images, labels } of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${done} images`);
    const shape = [labels.length, input.height, input.width, input.channels] as const;
    const logits = tf.tidy(() => runNetwork(network, tf.tensor4d(images, [...shape])));
    const values = await logits.data<'float32'>();
    logits.dispose();
    for (const [row, label] of labels.entries())
      each(label, values.subarray(row * outputs, (row + 1) * outputs));
    done += labels.length;
    if (done >= maxRows) return;
  }
}

/** Counts errors; `isUnseen` tells the classes of which a student never saw an image. */
export function createAccuracyCount(isUnseen?: Uint8Array): {
  add(label: number, logits: ArrayLike<number>): void;
  result(): SplitAccuracy;
} {
  const counts = { examples: 0, errors: 0, unseenExamples: 0, unseenErrors: 0 };
  return {
    add(label, logits) {
      let best = 0;
      for (let index = 1; index < logits.length; index++) if (logits[index] > logits[best]) best = index;
      const error = Number(best !== label);
      counts.examples++;
      counts.errors += error;
      if (isUnseen?.[label] !== 1) return;
      counts.unseenExamples++;
      counts.unseenErrors += error;
    },
    result: () => ({
      examples: counts.examples,
      errors: counts.errors,
      top1: counts.examples === 0 ? 0 : 1 - counts.errors / counts.examples,
      unseen: { examples: counts.unseenExamples, errors: counts.unseenErrors },
    }),
  };
}

/** Accuracy of a network on images. */
export async function imageAccuracy(
  network: Network,
  batches: AsyncIterable<ImageBatch>,
  options: RunOptions & { readonly isUnseen?: Uint8Array },
): Promise<SplitAccuracy> {
  const count = createAccuracyCount(options.isUnseen);
  await runImages(network, batches, count.add, options);
  return count.result();
}

/** The images of a split in batches for {@link runImages}. */
export function splitImages(split: Split, image: ImageShape): AsyncIterable<ImageBatch> {
  return imageBatches(split, image, { batchSize });
}

/** Accuracy of a network on a split. */
export function splitAccuracy(
  network: Network,
  split: Split,
  options: RunOptions & { readonly isUnseen?: Uint8Array },
): Promise<SplitAccuracy> {
  return imageAccuracy(network, splitImages(split, network.definition.input), options);
}
