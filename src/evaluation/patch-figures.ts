import { KdSpecError } from '../core/errors.js';
import type { Ensemble } from '../ensemble/ensemble.js';
import { createMean } from '../math/mean.js';
import { firstClass } from '../math/rank.js';
import type { LabelledBatch } from '../models/accuracy.js';
import { type Classifier, type ImageBatch, rowOf } from '../models/classifier.js';

/** Shares of images with the right first class, before a patch and after it. */
export interface PatchFigures {
  readonly examples: number;
  readonly before: number;
  readonly after: number;
  /** Of the difference, which is paired. */
  readonly standardError: number;
}

/**
 * Measures a patched model against what it was made of.
 *
 * @param batches labelled images
 * @param options.original predicts as before; none: the patched model's own generalist does
 * @param options.unlabelled the label of images without one, of which those count as right that are predicted as before
 * @throws KdSpecError `interrupted` between two batches
 */
export async function patchFigures(
  patched: Ensemble,
  batches: AsyncIterable<LabelledBatch>,
  {
    original,
    unlabelled,
    signal,
  }: {
    readonly original?: Classifier | undefined;
    readonly unlabelled?: number | undefined;
    readonly signal: AbortSignal;
  },
): Promise<PatchFigures> {
  const classes = patched.classes.length;
  const [before, after, difference] = [createMean(), createMean(), createMean()];
  for await (const batch of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${before.examples} images`);
    const predicted = await predictions(patched, original, batch);
    for (let row = 0; row < batch.count; row++) {
      const [first, second] = predicted.map((all) => firstClass(rowOf(all, row, classes)));
      const label = batch.labels[row] === unlabelled ? first : batch.labels[row];
      const [isRight, isStillRight] = [Number(first === label), Number(second === label)];
      before.add(isRight);
      after.add(isStillRight);
      difference.add(isStillRight - isRight);
    }
  }
  return {
    examples: before.examples,
    before: before.estimate().mean,
    after: after.estimate().mean,
    standardError: difference.estimate().standardError,
  };
}

/** (batch, classes) each, before and after. */
async function predictions(
  patched: Ensemble,
  original: Classifier | undefined,
  batch: ImageBatch,
): Promise<readonly [Float32Array, Float32Array]> {
  if (original) return [await original.probabilities(batch), await patched.probabilities(batch)];
  const classes = patched.classes.length;
  const before = new Float32Array(batch.count * classes);
  const after = new Float32Array(batch.count * classes);
  for (const [row, trace] of (await patched.trace(batch, { out: after })).entries())
    before.set(trace.generalist, row * classes);
  return [before, after];
}
