import { assert, KdSpecError } from '../core/errors.js';
import { createPause } from '../core/pause.js';
import type { ImageShape } from '../data/source.js';
import { softmax } from '../math/softmax.js';

/** The name of each class; the position is the class. */
export type ClassNames = readonly string[];

/** What a classifier or a backbone takes. */
export type InputSpec =
  /** Any images of this shape. Layout, channel order and normalisation of a foreign model are its own affair. */
  | { readonly kind: 'images'; readonly image: ImageShape }
  /** The rows of one set and no others: predictions or features that were stored for it. */
  | { readonly kind: 'rows'; readonly rows: number };

/** Images that are classified together. */
export interface ImageBatch {
  /** (batch, height, width, channels), in [0, 1]; may be empty where the input is rows. */
  readonly images: Float32Array;
  /** Images in the batch. */
  readonly count: number;
  /** (batch), the index of each image in its set; what reads stored rows needs it. */
  readonly rows?: Int32Array;
}

/** Where predictions are written. */
export interface PredictionOptions {
  /**
   * (batch * classes or more): one array for all batches spares the system from finding fresh memory for each. None
   * makes a new one.
   */
  readonly out?: Float32Array | undefined;
}

/**
 * Anything that predicts classes for images: a network, an ONNX model, stored predictions, a mean of others, an
 * ensemble, a student. It owns resources until `dispose`; after it, every method throws KdSpecError `disposed`.
 *
 * Both methods describe the same distributions: `logits` are log-probabilities up to a constant for each image.
 */
export interface Classifier {
  /** For a person: `the generalist`, or the path it was read from. */
  readonly name: string;
  readonly classes: ClassNames;
  readonly input: InputSpec;
  /**
   * Logits at temperature 1; where a probability is 0, {@link lowestLogProbability}.
   *
   * @returns (batch, classes), finite
   * @throws KdSpecError `image-shape` when the batch is not what `input` says, `disposed`
   */
  logits(batch: ImageBatch, options?: PredictionOptions): Promise<Float32Array>;
  /**
   * The softmax of the logits.
   *
   * @returns (batch, classes), rows that sum to 1
   * @throws as `logits`
   */
  probabilities(batch: ImageBatch, options?: PredictionOptions): Promise<Float32Array>;
  /** Frees what it owns; a second call does nothing. */
  dispose(): void;
}

/** A probability of 0 counts as this: its logarithm has to be a number that a student can be given. */
export const lowestLogProbability = -60;

/** Writes (batch, classes) to `out`, which has as much room and no more. */
export type Predict = (batch: ImageBatch, out: Float32Array) => Promise<void>;

/** What differs from one kind of classifier to the next: at least one of `logits` and `probabilities`. */
export interface ClassifierParts extends Pick<Classifier, 'name' | 'classes' | 'input'> {
  readonly logits?: Predict;
  readonly probabilities?: Predict;
  /** Called once. */
  readonly dispose: () => void;
}

/** A classifier whose checks serve what else is predicted for a batch. */
export interface GuardedClassifier extends Classifier {
  /**
   * Checks a batch, and that the classifier was not disposed of.
   *
   * @returns where to write (batch, classes)
   * @throws as `logits`
   */
  roomFor(batch: ImageBatch, out?: Float32Array): Float32Array;
}

/**
 * Makes a classifier of one computation: checks every batch, finds room for what is predicted, derives logits from
 * probabilities or the reverse, and refuses to work after `dispose`.
 *
 * @example
 * const uniform = createClassifier({
 *   name: 'a coin',
 *   classes: ['heads', 'tails'],
 *   input: { kind: 'rows', rows: 10 },
 *   logits: async (_batch, out) => void out.fill(0),
 *   dispose() {},
 * });
 */
export function createClassifier(parts: ClassifierParts): GuardedClassifier {
  const { name, classes, input } = parts;
  const { logits, probabilities } = parts;
  let isDisposed = false;
  const room = (batch: ImageBatch, out: Float32Array | undefined) => {
    if (isDisposed) throw disposed(name);
    checkBatch(parts, batch);
    return roomFor(batch.count, classes.length, out);
  };
  const predict =
    (compute: Predict): Classifier['logits'] =>
    async (batch, { out } = {}) => {
      const rows = room(batch, out);
      if (batch.count > 0) await compute(batch, rows);
      return rows;
    };
  return {
    name,
    classes,
    input,
    roomFor: room,
    logits: predict(logits ?? logarithmOf(probabilities)),
    probabilities: predict(probabilities ?? softmaxOf(logits, classes.length)),
    dispose() {
      if (!isDisposed) parts.dispose();
      isDisposed = true;
    },
  };
}

function logarithmOf(probabilities: Predict | undefined): Predict {
  assert(probabilities !== undefined, 'a classifier without logits and probabilities');
  return async (batch, out) => {
    await probabilities(batch, out);
    const pause = createPause(undefined, 'logarithms');
    for (let start = 0; start < out.length; start += valuesAtOnce) {
      const turn = pause();
      if (turn) await turn;
      const end = Math.min(out.length, start + valuesAtOnce);
      for (let i = start; i < end; i++) out[i] = Math.max(lowestLogProbability, Math.log(out[i]));
    }
  };
}

function softmaxOf(logits: Predict | undefined, classes: number): Predict {
  assert(logits !== undefined, 'a classifier without logits and probabilities');
  return async (batch, out) => {
    await logits(batch, out);
    const pause = createPause(undefined, 'softmax');
    for (let start = 0; start < out.length; start += classes) {
      const turn = pause();
      if (turn) await turn;
      const row = out.subarray(start, start + classes);
      softmax(row, { out: row });
    }
  };
}

/** What every method throws after `dispose`. */
export function disposed(name: string): KdSpecError {
  return new KdSpecError(
    'disposed',
    `${name} was disposed of, and its memory is free: call dispose() after the last prediction, or load it again`,
  );
}

/**
 * Checks a batch at the boundary of a classifier or a backbone.
 *
 * @throws KdSpecError `image-shape`
 */
export function checkBatch({ name, input }: Pick<Classifier, 'name' | 'input'>, batch: ImageBatch): void {
  if (input.kind === 'rows') {
    const bad = batch.rows?.find((row) => !(row >= 0 && row < input.rows));
    if (batch.rows?.length === batch.count && bad === undefined) return;
    throw new KdSpecError(
      'image-shape',
      `${name} holds predictions for ${input.rows} rows: expected the row of each of ${batch.count} images, got ` +
        (bad === undefined ? `${batch.rows?.length ?? 0} rows` : `row ${bad}`),
    );
  }
  const { height, width, channels } = input.image;
  const expected = batch.count * height * width * channels;
  if (batch.images.length === expected) return;
  throw new KdSpecError(
    'image-shape',
    `${name} takes images of ${height} x ${width} pixels and ${channels} channel${channels === 1 ? '' : 's'}: ` +
      `expected ${expected} values for ${batch.count} images, got ${batch.images.length}; decode or resize them to that`,
  );
}

/**
 * The array that a classifier writes to.
 *
 * @returns the first `count * classes` values of `out`, or of a new array
 * @throws KdSpecError `option-invalid` when `out` is too short
 */
function roomFor(
  count: number,
  classes: number,
  out: Float32Array = new Float32Array(count * classes),
): Float32Array {
  if (out.length >= count * classes) return out.subarray(0, count * classes);
  throw new KdSpecError(
    'option-invalid',
    `out: expected room for ${count} x ${classes} values, got ${out.length}: give a longer array, or none`,
  );
}

/** Floats of one array of (batch, classes): 64 MiB. */
const mostValues = 2 ** 24;

/** Values between two looks at the clock. */
const valuesAtOnce = 2 ** 18;
/** More images at once than this gain nothing. */
const mostImages = 1024;

/**
 * How many images to predict for at once where nothing else decides: an ensemble queries its specialists once a batch,
 * each for the few images that are routed to it, and weights that are read for many of them cost less for each. Bounded
 * by the memory of the distributions.
 */
export function batchSizeFor(classes: number): number {
  return Math.max(1, Math.min(mostImages, Math.floor(mostValues / classes)));
}

/** One row of a matrix (rows, columns), a view. */
export function rowOf(matrix: Float32Array, row: number, columns: number): Float32Array {
  return matrix.subarray(row * columns, (row + 1) * columns);
}
