import type { ImageBatch } from '../classifier.js';
import { type InputForm, type Reading, toModelInput } from './reading.js';
import { openSession, type RuntimeName } from './runtime.js';
import type { OutputTensor } from './session.js';

/** How images are given to a model. */
export interface ImageFeed {
  /** The name of its input. */
  readonly name: string;
  readonly form: InputForm;
  readonly reading: Reading;
  /** Images that it takes at once, where that is fixed. */
  readonly batch?: number | undefined;
}

/** What a model returned for consecutive images of a batch. */
export interface SessionPart {
  /** By the names of the outputs; with rows behind the last image where the model takes a fixed number. */
  readonly results: ReadonlyMap<string, OutputTensor>;
  /** The first image, and how many. */
  readonly first: number;
  readonly count: number;
  /** Images that ran, those of no interest included. */
  readonly ran: number;
}

/** An ONNX model that takes images, in whatever batches. */
export interface ImageSession {
  /**
   * @param outputs the names of those that are wanted
   * @param take gets what the model returned for each part of the batch, in order; throws where that is not usable
   * @param reading another one than it was opened with
   */
  run(
    batch: ImageBatch,
    outputs: readonly string[],
    take: (part: SessionPart) => void,
    reading?: Reading,
  ): Promise<void>;
  dispose(): void;
}

const fewestOfLane = 8; // images, where a model takes any number

/**
 * Opens a model that takes images.
 *
 * A batch goes through at once, in as many parts as the session has lanes; where the number of images is fixed, so many
 * at a time, with black images after the last. Some exporters fix the batch at 1 without saying so: after a first
 * refusal of more, images go one by one.
 *
 * @param model as `openSession` takes it
 * @throws KdSpecError `checkpoint-invalid` when the runtime refuses the model
 */
export async function openImageSession(
  model: Uint8Array | string,
  { name, form, reading: own, batch }: ImageFeed,
  { path, runtime }: { readonly path: string; readonly runtime?: RuntimeName | undefined },
): Promise<ImageSession> {
  const session = await openSession(model, { name: path, runtime });
  const size = form.image.height * form.image.width * form.image.channels;
  let most = batch ?? Number.POSITIVE_INFINITY;

  /** The next images, one part a lane; no part is so small that a runtime would add in another order. */
  const nextParts = (first: number, count: number) => {
    const left = count - first;
    if (most !== Number.POSITIVE_INFINITY) {
      const parts = Math.min(session.lanes, Math.ceil(left / most));
      return Array.from({ length: parts }, (_, lane) => {
        const start = first + lane * most;
        return { first: start, count: Math.min(most, count - start) };
      });
    }
    const parts = Math.max(1, Math.min(session.lanes, Math.floor(left / fewestOfLane)));
    const startOf = (lane: number) => first + Math.floor((left * lane) / parts);
    return Array.from({ length: parts }, (_, lane) => ({
      first: startOf(lane),
      count: startOf(lane + 1) - startOf(lane),
    }));
  };
  return {
    async run({ images, count }, outputs, take, reading = own) {
      const runPart = async (
        part: { readonly first: number; readonly count: number },
        place: number,
        { length }: readonly unknown[],
      ) => {
        const wanted = images.subarray(part.first * size, (part.first + part.count) * size);
        const given = padded(wanted, batch, size);
        const ran = given.length / size;
        const feeds = { [name]: toModelInput(form, reading, given, ran) };
        return { ...part, ran, results: await session.run(feeds, outputs, length > 1 ? place : undefined) };
      };
      let hasFailed = false; // a batch did, so that these images are tried alone
      for (let first = 0; first < count; ) {
        const parts = nextParts(first, count);
        const runs = await Promise.allSettled(parts.map(runPart));
        for (const [place, run] of runs.entries()) {
          if (run.status === 'fulfilled') {
            take(run.value);
            first += run.value.count;
          } else if (parts[place].count > 1 && most === Number.POSITIVE_INFINITY) {
            most = 1;
            hasFailed = true;
            break;
          } else {
            if (hasFailed) most = Number.POSITIVE_INFINITY; // it was the image, not their number
            throw run.reason;
          }
        }
      }
    },
    dispose: () => session.dispose(),
  };
}

/** Black images after the last, where the model takes a fixed number. */
function padded(images: Float32Array, batch: number | undefined, size: number): Float32Array {
  if (batch === undefined || images.length === batch * size) return images;
  const all = new Float32Array(batch * size);
  all.set(images);
  return all;
}
