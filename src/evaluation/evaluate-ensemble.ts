import { KdSpecError } from '../core/errors.js';
import { createPause } from '../core/pause.js';
import type { ImageShape } from '../data/source.js';
import { imageDataUri } from '../data/thumbnails.js';
import type { NetworkEnsemble } from '../ensemble/ensemble.js';
import { createMean } from '../math/mean.js';
import { rankOf } from '../math/rank.js';
import type { LabelledBatch } from '../models/accuracy.js';
import { type Classifier, rowOf } from '../models/classifier.js';
import { type Top1, top1Of } from './accuracy.js';
import { createEvaluation, type Evaluation } from './evaluation.js';
import { specialistCosts } from './first-classes.js';
import { createDetails, type ObservedDetails } from './report-details.js';
import { createExampleSearch, describeTrace, type ReportExample } from './report-example.js';

const exampleSide = 512; // pixels

/** Top-1 of an imported model as it was, with its standard error, fractions in [0, 1]. */
export interface OriginalAccuracy extends Top1 {
  /** Ensemble minus it, paired. */
  readonly difference: Top1;
}

/** The specialists that took part in a prediction, means over the images. */
export interface QueriedSpecialists {
  readonly count: number;
  /** Multiplications and additions. */
  readonly flops: number;
}

/** What is evaluated: an ensemble that tells how each specialist predicts. */
export type EvaluatedEnsemble = Pick<NetworkEnsemble, 'classes' | 'settings' | 'specialists' | 'trace'>;

/** Batches of a split, with the row of each image in it. */
export type EvaluatedBatch = LabelledBatch & { readonly rows: Int32Array };

/**
 * Measures an ensemble against its generalist on labelled images, and collects what a page shows of single images.
 *
 * Beside the active specialists, every kept one that covers the label is queried: conditional accuracy asks for them.
 *
 * @param batches of labelled images
 * @param options.image their shape
 * @param options.original the imported model as it was, where the generalist has another last layer
 * @param options.total stops after this many images
 * @param options.seed of what is drawn at random to be shown
 * @param options.update called with the number of images that are done, after each batch
 * @throws KdSpecError `interrupted` between two batches
 */
export async function evaluateEnsemble(
  ensemble: EvaluatedEnsemble,
  batches: AsyncIterable<EvaluatedBatch>,
  {
    image,
    original,
    total,
    seed,
    signal,
    update = () => {},
  }: {
    readonly image: ImageShape;
    readonly original?: Classifier | undefined;
    readonly total: number;
    readonly seed: number;
    readonly signal: AbortSignal;
    readonly update?: (done: number) => void;
  },
): Promise<{
  readonly evaluation: Evaluation;
  readonly original?: OriginalAccuracy;
  readonly queried: QueriedSpecialists;
  readonly example: ReportExample | undefined;
  readonly details: ObservedDetails;
}> {
  const { classes, settings } = ensemble;
  const configs = ensemble.specialists.map(({ config }) => config);
  // The evaluation numbers the kept specialists from 0; the ensemble numbers all of them.
  const kept = settings.specialists.flatMap((specialist, position) => (specialist.kept ? [position] : []));
  const numberOf = new Map(kept.map((position, number) => [position, number]));
  const evaluation = createEvaluation(kept.map((position) => configs[position]));
  const search = createExampleSearch();
  const picture = pictureShape(image);
  const details = createDetails(classes, configs, { image: picture, seed, total });
  const pause = createPause(signal, 'evaluation');
  const [before, gain] = [createMean(), createMean()];
  const costs = specialistCosts(ensemble.specialists);
  const queried = { count: createMean(), flops: createMean() };
  let memory = new Float32Array();
  let done = 0;
  for await (const batch of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `evaluation: stopped after ${done} images`);
    if (memory.length < batch.count * classes.length) memory = new Float32Array(batch.count * classes.length);
    const traces = await ensemble.trace(batch, {
      out: memory,
      also: (row) => evaluation.covering(batch.labels[row]).map((number) => kept[number]),
    });
    const originals = await original?.probabilities(batch);
    for (const [row, trace] of traces.slice(0, total - done).entries()) {
      const turn = pause();
      if (turn) await turn;
      const label = batch.labels[row];
      if (originals) {
        const wasRight = Number(rankOf(rowOf(originals, row, classes.length), label) === 0);
        before.add(wasRight);
        gain.add(Number(rankOf(trace.ensemble, label) === 0) - wasRight);
      }
      const pixels = () => pixelsOf(batch.images, row, image);
      await search.offer(trace, label, async () => ({
        row: batch.rows[row],
        label: { index: label, class: classes[label] },
        image: { ...picture, png: await imageDataUri(pixels(), picture, { most: exampleSide }) },
        ...describeTrace(trace, classes, configs),
      }));
      await details.observe({ row: batch.rows[row], label, trace, pixels });
      const active = trace.specialists.filter(({ isActive }) => isActive);
      queried.count.add(active.length);
      queried.flops.add(active.reduce((sum, { position }) => sum + costs[position], 0));
      const numbered = trace.specialists.flatMap(({ position, ...specialist }) => {
        const number = numberOf.get(position);
        return number === undefined ? [] : [{ number, ...specialist }];
      });
      evaluation.add({
        label,
        generalist: trace.generalist,
        ensemble: trace.ensemble,
        active: numbered.filter(({ isActive }) => isActive).map(({ number }) => number),
        covering: new Map(numbered.map(({ number, probabilities }) => [number, probabilities])),
      });
      done++;
    }
    update(done);
    if (done >= total) break;
  }
  return {
    evaluation: evaluation.result(),
    ...(original && { original: { ...top1Of(before), difference: top1Of(gain) } }),
    queried: { count: queried.count.estimate().mean, flops: queried.flops.estimate().mean },
    example: search.result(),
    details: await details.result(),
  };
}

/** The shape in which an image is shown: its own; features as a square of greys, the last of which may be missing. */
function pictureShape(image: ImageShape): ImageShape {
  if (!image.isFeatures) return image;
  const side = Math.ceil(Math.sqrt(image.width));
  return { height: side, width: side, channels: 1 };
}

/**
 * An image of a batch as it is shown, see {@link pictureShape}.
 *
 * @param images (batch, height, width, channels), 0 to 1; of features, any numbers
 * @returns (height, width, channels) of the picture, 0 to 255; of features, the least is black and the greatest white
 */
function pixelsOf(images: Float32Array, row: number, image: ImageShape): Uint8Array {
  const { height, width, channels } = image;
  const size = height * width * channels;
  const values = images.subarray(row * size, (row + 1) * size);
  if (!image.isFeatures) return Uint8Array.from(values, (value) => Math.round(255 * value));
  const picture = pictureShape(image);
  const pixels = new Uint8Array(picture.height * picture.width);
  const [least, greatest] = values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  for (const [at, value] of values.entries())
    pixels[at] = Math.round((255 * (value - least)) / Math.max(Number.MIN_VALUE, greatest - least));
  return pixels;
}
