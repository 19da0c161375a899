import { selectBackend } from '../compute/backend.js';
import { KdSpecError } from '../core/errors.js';
import { neighbourPredictions } from '../evaluation/rivals/neighbours.js';
import { softmax } from '../math/softmax.js';
import type { NeighbourHead } from '../models/onnx/neighbour-head.js';
import type { DenseHead } from '../models/onnx/replace-head.js';
import type { Settings } from '../pipeline/options.js';

// What a written model makes of images, against the head or the neighbours that were measured, on the features that it
// computes itself.

const mostDifference = 1e-2; // of a probability, of weights in 16 bits too: more is a defect

/** Reads a value of the written model for test images, (images, width). */
export type ValueReader = (value: string, width: number) => Promise<Float32Array>;

export interface Compared {
  /** On which the file was compared with what was measured. */
  readonly images: number;
  /** On which only what holds whichever neighbours vote was compared. */
  readonly undecided: number;
  /** Of a probability, on all of them. */
  readonly maxDifference: number;
}

/** @throws KdSpecError `fusion-input` where the file is not what was measured */
export function expectEqual({ maxDifference }: Compared): void {
  if (maxDifference < mostDifference) return;
  throw new KdSpecError(
    'fusion-input',
    `what was written differs from what was measured by ${maxDifference.toPrecision(2)}: this is a defect of kd-spec; ` +
      'nothing was written',
  );
}

/** Runs the written model: its logits against those of the layer on the features that it computes. */
export async function compareLayer(
  read: ValueReader,
  { features: name, width }: { readonly features: string; readonly width: number },
  { logits, layer, images }: { readonly logits: string; readonly layer: DenseHead; readonly images: number },
): Promise<Compared> {
  const classes = layer.bias.length;
  const features = await read(name, width);
  const found = await read(logits, classes);
  let maxDifference = 0;
  for (let row = 0; row < images; row++) {
    const own = features.subarray(row * width, (row + 1) * width);
    const units = layer.hidden ? applied(layer.hidden, own).map((value) => Math.max(0, value)) : [];
    const wanted = softmax(applied(layer, [...own, ...units]));
    const given = softmax(found.subarray(row * classes, (row + 1) * classes));
    maxDifference = Math.max(maxDifference, differenceOf(wanted, given));
  }
  return { images, undecided: 0, maxDifference };
}

/**
 * Runs the written model: its probabilities against those of the rival on the features and the logits that it computes.
 * Where single precision does not tell who the last neighbour is, what holds of any: the first classes keep their sum, and
 * all other classes their probabilities.
 */
export async function compareNeighbours(
  read: ValueReader,
  { features: name, width }: { readonly features: string; readonly width: number },
  {
    logits,
    before,
    neighbours,
    images,
    backend,
  }: {
    readonly logits: string;
    readonly before: string;
    readonly neighbours: NeighbourHead;
    readonly images: number;
    readonly backend: Settings['backend'];
  },
): Promise<Compared> {
  const classes = neighbours.isPictured.length;
  const found = await read(logits, classes);
  const { operations } = await selectBackend(backend);
  const { probabilities, isRanked, isClear } = await neighbourPredictions(operations, neighbours, {
    features: await read(name, width),
    logits: await read(before, classes),
    rows: images,
  });
  let [compared, maxDifference] = [0, 0];
  for (let row = 0; row < images; row++) {
    const [from, to] = [row * classes, (row + 1) * classes];
    const wanted = probabilities.subarray(from, to);
    const given = softmax(found.subarray(from, to));
    const difference =
      isClear[row] === 1
        ? differenceOf(wanted, given)
        : keptDifference(wanted, given, isRanked.subarray(from, to));
    maxDifference = Math.max(maxDifference, difference);
    compared += isClear[row];
  }
  return { images: compared, undecided: images - compared, maxDifference };
}

/** The greatest difference of a probability. */
const differenceOf = (wanted: ArrayLike<number>, given: Float64Array): number =>
  given.reduce((most, value, label) => Math.max(most, Math.abs(value - wanted[label])), 0);

/** The greatest difference of what does not depend on who votes: the sum of the ranked classes, and all others. */
function keptDifference(wanted: Float32Array, given: Float64Array, isRanked: Uint8Array): number {
  let [most, sum] = [0, 0];
  for (const [label, value] of given.entries()) {
    const difference = value - wanted[label];
    if (isRanked[label] === 1) sum += difference;
    else most = Math.max(most, Math.abs(difference));
  }
  return Math.max(most, Math.abs(sum));
}

/** What a dense layer makes of its input. */
function applied(
  { weights, bias }: Pick<DenseHead, 'weights' | 'bias'>,
  input: Float32Array | readonly number[],
): Float32Array {
  const out = Float32Array.from(bias);
  for (const [row, value] of input.entries())
    for (let unit = 0; unit < out.length; unit++) out[unit] += value * weights[row * out.length + unit];
  return out;
}
