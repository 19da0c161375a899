import { KdSpecError } from '../core/errors.js';
import { encodeSmallPng } from '../data/png.js';
import type { ImageShape } from '../data/source.js';
import type { Ensemble } from '../ensemble/ensemble.js';
import type { LabelledBatch } from '../models/accuracy.js';
import { createEvaluation, type Evaluation } from './evaluation.js';
import { createExampleSearch, describeTrace, type ReportExample } from './report-example.js';

/** Batches of a split, with the row of each image in it. */
export type EvaluatedBatch = LabelledBatch & { readonly rows: Int32Array };

/**
 * Measures an ensemble against its generalist on labelled images, and finds an image to show.
 *
 * Beside the active specialists, every kept one that covers the label is queried: conditional accuracy asks for them.
 *
 * @param batches of labelled images
 * @param options.image their shape
 * @param options.total stops after this many images
 * @param options.update called with the number of images that are done, after each batch
 * @throws KdSpecError `interrupted` between two batches
 */
export async function evaluateEnsemble(
  ensemble: Ensemble,
  batches: AsyncIterable<EvaluatedBatch>,
  {
    image,
    total,
    signal,
    update = () => {},
  }: {
    readonly image: ImageShape;
    readonly total: number;
    readonly signal: AbortSignal;
    readonly update?: (done: number) => void;
  },
): Promise<{ readonly evaluation: Evaluation; readonly example: ReportExample | undefined }> {
  const { classes, settings } = ensemble;
  const configs = ensemble.specialists.map(({ config }) => config);
  // The evaluation numbers the kept specialists from 0; the ensemble numbers all of them.
  const kept = settings.specialists.flatMap((specialist, position) => (specialist.kept ? [position] : []));
  const numberOf = new Map(kept.map((position, number) => [position, number]));
  const evaluation = createEvaluation(kept.map((position) => configs[position]));
  const search = createExampleSearch();
  let memory = new Float32Array();
  let done = 0;
  for await (const batch of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `evaluation: stopped after ${done} images`);
    if (memory.length < batch.count * classes.length) memory = new Float32Array(batch.count * classes.length);
    const traces = await ensemble.trace(batch, {
      out: memory,
      also: (row) => evaluation.covering(batch.labels[row]).map((number) => kept[number]),
    });
    for (const [row, trace] of traces.slice(0, total - done).entries()) {
      const label = batch.labels[row];
      search.offer(trace, () => ({
        row: batch.rows[row],
        label: { index: label, class: classes[label] },
        image: { ...image, png: pngDataUri(batch.images, row, image) },
        ...describeTrace(trace, classes, configs),
      }));
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
  return { evaluation: evaluation.result(), example: search.result() };
}

/**
 * An image of a batch as a file that a page can hold.
 *
 * @param images (batch, height, width, channels), 0 to 1
 */
function pngDataUri(images: Float32Array, row: number, image: ImageShape): string {
  const size = image.height * image.width * image.channels;
  const pixels = Uint8Array.from(images.subarray(row * size, (row + 1) * size), (value) =>
    Math.round(255 * value),
  );
  return `data:image/png;base64,${Buffer.from(encodeSmallPng(pixels, image)).toString('base64')}`;
}
