import { assert, KdSpecError } from '../core/errors.js';
import { createPause, type Pause } from '../core/pause.js';
import type { Split } from './dataset.js';
import { type Example, examples } from './examples.js';
import { decodeImage } from './image-codec.js';
import type { ShuffleSeed } from './row-order.js';
import type { ImageShape } from './source.js';

/** Images that go through a network together. The last batch of a split may be smaller. */
export interface ImageBatch {
  /** (batch, height, width, channels), 0 to 1. */
  readonly images: Float32Array;
  /** Images in the batch. */
  readonly count: number;
  /** (batch). */
  readonly labels: Int32Array;
  /** (batch), index in the split. */
  readonly rows: Int32Array;
}

/** Writes the image of a row, (height, width, channels) of 0 to 255, changed, to `out` from `offset` on, 0 to 1. */
export type Augment = (pixels: Uint8Array, row: number, out: Float32Array, offset: number) => void;

/** How examples become batches. */
export interface BatchOptions {
  readonly batchSize: number;
  /** Made afresh for each image; none leaves images as they are. */
  readonly augment?: Augment | undefined;
  /** Batches that are being decoded while the consumer works on one. */
  readonly lookahead?: number;
  /** Leaves out a last batch that is not full. */
  readonly dropLast?: boolean;
}

/**
 * Streams a split as batches of decoded images.
 *
 * @param split from `openDataset`
 * @param shape what images are decoded to, usually the data set's own
 * @param options.batchSize images a batch
 * @param options.epochSeed names the shuffle of the epoch, e.g. `[seed, 'epoch', 3]`; none for the written order
 * @param options.skipBatches batches that were consumed before, passed over without being decoded
 * @param options.keep which labels are wanted
 * @returns batches of images (batch, height, width, channels)
 * @throws KdSpecError `shard-truncated`, `shard-corrupt`, `image-unreadable`
 *
 * @example
 * const { splits, image } = await openDataset('kd-workspace/dataset');
 * for await (const { images, labels } of imageBatches(splits.train, image, { batchSize: 128, epochSeed: [1, 0] })) {
 *   console.log(images.length, labels.length);
 * }
 */
export async function* imageBatches(
  split: Split,
  shape: ImageShape,
  {
    batchSize,
    epochSeed,
    bufferRows = 8192,
    skipBatches = 0,
    keep,
    ...options
  }: BatchOptions & {
    readonly epochSeed?: ShuffleSeed | undefined;
    readonly bufferRows?: number;
    readonly skipBatches?: number;
    readonly keep?: ((label: number) => boolean) | undefined;
  },
): AsyncGenerator<ImageBatch> {
  const stream = examples(split, {
    bufferRows,
    skip: skipBatches * batchSize,
    ...(epochSeed && { shuffleSeed: epochSeed }),
    ...(keep && { keep }),
  });
  yield* batchExamples(stream, shape, { batchSize, ...options });
}

/**
 * Turns any stream of examples into batches of decoded images, in the order of the stream.
 *
 * @param stream encoded images with labels, e.g. two calls of `examples` mixed
 * @returns batches of images (batch, height, width, channels)
 * Cost: at most `lookahead` + 1 batches in memory.
 */
export async function* batchExamples(
  stream: AsyncIterable<Example>,
  shape: ImageShape,
  { batchSize, augment = scale, lookahead = 2, dropLast = false }: BatchOptions,
): AsyncGenerator<ImageBatch> {
  assert(batchSize >= 1 && lookahead >= 0, `batches of ${batchSize}, ${lookahead} ahead`);
  const underway: Promise<ImageBatch>[] = [];
  const pause = createPause(undefined, 'batches'); // small images are decoded without waiting for anything
  let gathered: Example[] = [];
  const start = () => {
    const batch = decodeBatch(gathered, shape, augment);
    // A failure is thrown where this batch is taken, not in the process.
    batch.catch(() => {});
    underway.push(batch);
    gathered = [];
  };
  for await (const example of stream) {
    gathered.push(example);
    if (gathered.length < batchSize) continue;
    start();
    while (underway.length > lookahead) yield* take(underway, pause);
  }
  if (gathered.length > 0 && !dropLast) start();
  while (underway.length > 0) yield* take(underway, pause);
}

async function* take(underway: Promise<ImageBatch>[], pause: Pause): AsyncGenerator<ImageBatch> {
  const batch = await underway.shift();
  const turn = pause();
  if (turn) await turn;
  if (batch) yield batch;
}

async function decodeBatch(
  gathered: readonly Example[],
  shape: ImageShape,
  augment: Augment,
): Promise<ImageBatch> {
  const imageSize = shape.height * shape.width * shape.channels;
  const images = new Float32Array(gathered.length * imageSize); // (batch, height, width, channels)
  if (shape.isFeatures) {
    for (const [position, { bytes, row }] of gathered.entries())
      images.set(floatsOf(bytes, shape, `row ${row}`), position * imageSize);
  } else {
    await Promise.all(
      gathered.map(async ({ bytes, row }, position) => {
        const pixels = await decodeImage(bytes, shape, `the image of row ${row}`);
        augment(pixels, row, images, position * imageSize);
      }),
    );
  }
  return {
    images,
    count: gathered.length,
    labels: Int32Array.from(gathered, ({ label }) => label),
    rows: Int32Array.from(gathered, ({ row }) => row),
  };
}

/**
 * The numbers of a row of features from their bytes.
 *
 * @param name of the row, for messages
 * @throws KdSpecError `image-shape` when they are not as many as the shape says
 */
export function floatsOf(bytes: Uint8Array, { width }: ImageShape, name: string): Float32Array {
  if (bytes.length !== 4 * width) {
    throw new KdSpecError(
      'image-shape',
      `${name}: expected ${width} numbers, as the features that the networks were trained on, found ${bytes.length / 4}`,
    );
  }
  const isAligned = bytes.byteOffset % 4 === 0;
  const whole = isAligned ? bytes : bytes.slice();
  return new Float32Array(whole.buffer, whole.byteOffset, width);
}

function scale(pixels: Uint8Array, _row: number, out: Float32Array, offset: number): void {
  for (let index = 0; index < pixels.length; index++) out[offset + index] = pixels[index] / 255;
}
