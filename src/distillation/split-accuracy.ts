import { type ImageBatch, imageBatches } from '../data/batches.js';
import type { Split } from '../data/dataset.js';
import type { ImageShape } from '../data/source.js';
import { createAccuracy, predictEach } from '../models/accuracy.js';
import { batchSizeFor, type Classifier } from '../models/classifier.js';

/** What is measured of a classifier on a split: a type, not an interface, so that it is JSON. */
export type SplitAccuracy = {
  readonly examples: number;
  readonly errors: number;
  readonly top1: number;
  /** The same for examples of the classes that were never seen; of none where all were. */
  readonly unseen: { readonly examples: number; readonly errors: number };
};

/** How an accuracy is measured. */
interface SplitAccuracyOptions {
  readonly signal: AbortSignal;
  /** Measures on no more images than this. */
  readonly maxRows?: number;
  /** (classes), 1 for a class of which a student never saw an image. */
  readonly isUnseen?: Uint8Array;
  /** Called after each image with how many are done. */
  readonly progress?: (done: number) => void;
}

const mostAtOnce = 256; // images of a batch: more gain nothing where nothing is fused

/** The images of a split in batches that suit a classifier. */
export function splitImages(
  split: Split,
  image: ImageShape,
  { classes }: Pick<Classifier, 'classes'>,
): AsyncIterable<ImageBatch> {
  return imageBatches(split, image, { batchSize: Math.min(mostAtOnce, batchSizeFor(classes.length)) });
}

/** Accuracy of a classifier on images. */
export async function imageAccuracy(
  classifier: Classifier,
  batches: AsyncIterable<ImageBatch>,
  { isUnseen, progress, ...options }: SplitAccuracyOptions,
): Promise<SplitAccuracy> {
  const all = createAccuracy();
  const unseen = createAccuracy();
  const add = (label: number, logits: Float32Array) => {
    all.add(label, logits);
    if (isUnseen?.[label] === 1) unseen.add(label, logits);
    progress?.(all.examples);
  };
  await predictEach(classifier, batches, add, options);
  const { examples, errors } = all;
  return {
    examples,
    errors,
    top1: examples === 0 ? 0 : 1 - errors / examples,
    unseen: { examples: unseen.examples, errors: unseen.errors },
  };
}

/** Accuracy of a classifier on a split. */
export function splitAccuracy(
  classifier: Classifier,
  split: Split,
  image: ImageShape,
  options: SplitAccuracyOptions,
): Promise<SplitAccuracy> {
  return imageAccuracy(classifier, splitImages(split, image, classifier), options);
}
