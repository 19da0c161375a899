import { performance } from 'node:perf_hooks';
import type { ImageTrace } from '../ensemble/inference.js';
import { batchSizeFor, type Classifier, type ImageBatch, rowOf } from '../models/classifier.js';

/** A classifier that can also show how it came to its predictions; an `Ensemble` is one. */
export interface TracingClassifier extends Classifier {
  /** What each was trained for, in the order of a trace's positions. */
  readonly specialists: readonly {
    readonly config: { readonly id: number; readonly classes: readonly number[] };
  }[];
  /** Whether each of them takes part; default all do. */
  readonly kept?: readonly boolean[] | undefined;
  /** Specialists that take part, where traces do not name all; default those above. */
  readonly specialistCount?: number | undefined;
  trace(
    batch: ImageBatch,
    options?: { readonly out?: Float32Array | undefined },
  ): Promise<readonly ImageTrace[]>;
}

/** Whether a classifier can trace what it does. */
export function canTrace(classifier: Classifier): classifier is TracingClassifier {
  return 'trace' in classifier && typeof classifier.trace === 'function' && 'specialists' in classifier;
}

/** Whether traces name every specialist: a file that was exported without a trace has specialists that they do not name. */
export function namesSpecialists({
  specialists,
  specialistCount = 0,
}: Pick<TracingClassifier, 'specialists' | 'specialistCount'>): boolean {
  return specialists.length >= specialistCount;
}

/** What was predicted for one image; its arrays are good during the call that receives it. */
export interface Prediction {
  /** (classes) */
  readonly probabilities: Float32Array;
  /** Only where it was wanted and the classifier can tell. */
  readonly trace: ImageTrace | undefined;
}

/** What happened to a batch, for metrics. */
export interface BatchReport {
  readonly images: number;
  readonly seconds: number;
  /** How long each image had waited before the batch began. */
  readonly waitedSeconds: readonly number[];
}

/** One image that waits. */
interface Waiting {
  readonly pixels: Uint8Array;
  readonly isTraced: boolean;
  readonly sinceMs: number;
  readonly take: (prediction: Prediction) => void;
  readonly fail: (reason: unknown) => void;
}

/** Gathers the images of many requests into batches for one classifier. */
export interface Batcher {
  /**
   * Predicts for one image, together with whatever else comes within a few milliseconds.
   *
   * @param pixels (height, width, channels), 0 to 255
   * @param options.isTraced whether a trace is wanted
   * @param options.signal takes the image out of the queue; its reason is thrown
   * @param take makes of the prediction what is to be kept
   * @throws what the classifier throws
   */
  predict<T>(
    pixels: Uint8Array,
    options: { readonly isTraced: boolean; readonly signal: AbortSignal },
    take: (prediction: Prediction) => T,
  ): Promise<T>;
}

/**
 * Batches begin when enough images wait, or `waitMs` after the first came; while one is computed the next gathers. One
 * batch runs at a time, and other work of the process gets a turn between two. Of a batch that failed each image is tried
 * alone: one of which the model makes no numbers takes nothing from the others.
 *
 * @param options.batchSize the most images at once; fewer where the classes are so many that memory bounds them
 * @param options.exclusively runs one piece of work after the other, where several classifiers share a process
 * @param options.onBatch is told of each batch
 */
export function createBatcher(
  classifier: Classifier,
  {
    batchSize,
    waitMs,
    exclusively,
    onBatch,
  }: {
    readonly batchSize: number;
    readonly waitMs: number;
    readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
    readonly onBatch: (report: BatchReport) => void;
  },
): Batcher {
  const classes = classifier.classes.length;
  const most = Math.min(batchSize, batchSizeFor(classes));
  let queue: Waiting[] = [];
  let alone: Waiting[] = []; // of a batch that failed
  let timer: NodeJS.Timeout | undefined;
  let isRunning = false;
  let out = new Float32Array(0);

  function schedule(): void {
    if (isRunning || queue.length === 0) return;
    if (queue.length >= most) void run();
    else timer ??= setTimeout(() => void run(), waitMs);
  }

  async function run(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    isRunning = true;
    try {
      while (alone.length + queue.length > 0) {
        await exclusively(async () => {
          const batch = alone.length > 0 ? alone.slice(0, 1) : queue.slice(0, most);
          if (alone.length > 0) alone = alone.slice(1);
          else queue = queue.slice(batch.length);
          if (batch.length > 0) await compute(batch);
        });
        await new Promise(setImmediate); // requests, refusals and probes of health have their turn
        const isFresh = queue.length > 0 && performance.now() - queue[0].sinceMs < waitMs;
        if (alone.length === 0 && isFresh && queue.length < most) break; // too few for a batch: let more come
      }
    } finally {
      isRunning = false;
      schedule();
    }
  }

  async function compute(batch: readonly Waiting[]): Promise<void> {
    const begin = performance.now();
    try {
      const input = toBatch(batch.map(({ pixels }) => pixels));
      if (out.length < batch.length * classes) out = new Float32Array(most * classes);
      const isTraced = canTrace(classifier) && batch.some((one) => one.isTraced);
      const traces = isTraced ? await classifier.trace(input, { out }) : undefined;
      const rows = traces ? out : await classifier.probabilities(input, { out });
      onBatch({
        images: batch.length,
        seconds: (performance.now() - begin) / 1000,
        waitedSeconds: batch.map(({ sinceMs }) => (begin - sinceMs) / 1000),
      });
      for (const [row, { take, isTraced, fail }] of batch.entries()) {
        try {
          take({
            probabilities: rowOf(rows, row, classes),
            trace: isTraced ? traces?.[row] : undefined,
          });
        } catch (error) {
          fail(error);
        }
      }
    } catch (error) {
      if (batch.length > 1) alone = [...batch];
      else for (const { fail } of batch) fail(error);
    }
  }

  return {
    predict: (pixels, { isTraced, signal }, take) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(signal.reason);
          return;
        }
        const settle = (end: () => void) => {
          signal.removeEventListener('abort', onAbort);
          end();
        };
        const waiting: Waiting = {
          pixels,
          isTraced,
          sinceMs: performance.now(),
          take: (prediction) => {
            const taken = take(prediction);
            settle(() => resolve(taken));
          },
          fail: (reason) => settle(() => reject(reason)),
        };
        const onAbort = () => {
          queue = queue.filter((other) => other !== waiting);
          alone = alone.filter((other) => other !== waiting);
          waiting.fail(signal.reason);
        };
        signal.addEventListener('abort', onAbort, { once: true });
        queue.push(waiting);
        schedule();
      }),
  };
}

/** Decoded images as a classifier takes them. */
function toBatch(images: readonly Uint8Array[]): ImageBatch {
  const size = images[0].length;
  const values = new Float32Array(images.length * size); // (batch, height, width, channels)
  for (const [position, pixels] of images.entries())
    for (let at = 0; at < size; at++) values[position * size + at] = pixels[at] / 255;
  return { images: values, count: images.length };
}

/** Runs pieces of work one after the other, in the order in which they came. */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work, work);
    last = mine.catch(() => {});
    return mine;
  };
}
