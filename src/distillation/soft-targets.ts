import type { CsrMatrix } from '../math/csr.js';
import { softmax } from '../math/softmax.js';

/*
 * Soft targets of a teacher: for each row its most probable classes with their log-probabilities, and the tail, which is
 * all other classes together.
 *
 * The sum of the tail at temperature T is `sum exp(l_i / T)`. Its logarithm is a smooth, convex function of 1/T, so a few
 * values of it, with parabolas between them, give it for every T of 1 and more. At 1/T = 0 it is the logarithm of the
 * number of classes in the tail.
 */

/** Sparse soft targets of some rows. */
export interface SoftTargets {
  readonly rows: number;
  readonly offsets: Int32Array; // (rows + 1)
  readonly indices: Int32Array; // (entries), each class once a row
  readonly logProbabilities: Float32Array; // (entries), at temperature 1
  readonly tails: Float32Array; // (rows, knots of the tail)
}

const parts = [0, 3, 6, 12, 18, 24, 30, 40, 48, 60, 72, 84, 96, 108, 120]; // 120ths, in ascending order
const knots = parts.map((part) => part / 120); // of 1/T

/** Numbers that describe a tail. */
export const tailSize = knots.length;

/**
 * The logarithms of the tail's sums at the knots.
 *
 * @param logProbabilities (classes), of all classes
 * @param isListed (classes), 1 for those that do not belong to the tail
 * @param out (knots), where they are written; -Infinity when the tail is empty
 */
export function tailSums(logProbabilities: ArrayLike<number>, isListed: Uint8Array, out: Float32Array): void {
  const sums = new Float64Array(knots.length);
  for (let index = 0; index < logProbabilities.length; index++) {
    if (isListed[index] === 1) continue;
    // The exponential at each knot is a power of one: all else here is products, written out for speed.
    const one = Math.exp(logProbabilities[index] / 120);
    const two = one * one;
    const three = two * one;
    const six = three * three;
    const twelve = six * six;
    let power = three;
    sums[0]++;
    sums[1] += power;
    sums[2] += power *= three;
    sums[3] += power *= six;
    sums[4] += power *= six;
    sums[5] += power *= six;
    sums[6] += power *= six;
    sums[7] += power *= six * two * two;
    sums[8] += power *= six * two;
    sums[9] += power *= twelve;
    sums[10] += power *= twelve;
    sums[11] += power *= twelve;
    sums[12] += power *= twelve;
    sums[13] += power *= twelve;
    sums[14] += power *= twelve;
  }
  for (let knot = 0; knot < knots.length; knot++) out[knot] = Math.log(sums[knot]);
}

/**
 * The logarithm of the tail's sum at a temperature, by the parabola through the three nearest knots.
 *
 * @param sums (knots), from {@link tailSums}
 * @param temperature 1 or more
 */
export function tailSumAt(sums: ArrayLike<number>, temperature: number): number {
  if (sums[0] === Number.NEGATIVE_INFINITY) return sums[0]; // every class is listed
  const x = 1 / temperature;
  const above = Math.max(
    1,
    knots.findIndex((knot) => knot >= x - 1e-12),
  );
  if (Math.abs(knots[above] - x) < 1e-12) return sums[above];
  const middle = Math.min(Math.max(1, above), knots.length - 2);
  const [a, b, c] = [knots[middle - 1], knots[middle], knots[middle + 1]];
  return (
    (sums[middle - 1] * (x - b) * (x - c)) / ((a - b) * (a - c)) +
    (sums[middle] * (x - a) * (x - c)) / ((b - a) * (b - c)) +
    (sums[middle + 1] * (x - a) * (x - b)) / ((c - a) * (c - b))
  );
}

/**
 * A teacher's distributions at a temperature.
 *
 * `p_i = exp(l_i / T) / Z` for the listed classes, where `Z` is the sum over all classes: the unlisted ones are
 * known by their sum. What a row leaves over, `1 - sum p_i`, is exactly their mass at that temperature.
 *
 * @param targets of some rows
 * @param temperature T, 1 or more
 * @returns (rows, classes)
 * Cost: one exponential an entry.
 */
export function temperedTargets(
  { rows, offsets, indices, logProbabilities, tails }: SoftTargets,
  { temperature, classes }: { readonly temperature: number; readonly classes: number },
): CsrMatrix {
  const values = new Float32Array(indices.length);
  for (let row = 0; row < rows; row++) {
    const [start, end] = [offsets[row], offsets[row + 1]];
    const tail = tailSumAt(tails.subarray(row * tailSize, (row + 1) * tailSize), temperature);
    let largest = tail;
    for (let entry = start; entry < end; entry++) {
      const value = logProbabilities[entry] / temperature;
      values[entry] = value;
      if (value > largest) largest = value;
    }
    let total = Math.exp(tail - largest);
    for (let entry = start; entry < end; entry++) total += Math.exp(values[entry] - largest);
    const constant = largest + Math.log(total);
    for (let entry = start; entry < end; entry++) values[entry] = Math.exp(values[entry] - constant);
  }
  return { rows, columns: classes, offsets, indices, values };
}

/**
 * The logits, if every class is listed.
 *
 * @returns (rows, classes)
 */
export function fullLogits(
  { rows, indices, offsets, logProbabilities }: SoftTargets,
  classes: number,
): Float32Array {
  const logits = new Float32Array(rows * classes);
  for (let row = 0; row < rows; row++) {
    for (let entry = offsets[row]; entry < offsets[row + 1]; entry++)
      logits[row * classes + indices[entry]] = logProbabilities[entry];
  }
  return logits;
}

/**
 * A teacher's distributions at a temperature in two parts: the mass on the label, and the others among themselves.
 *
 * With the label's class t, `own = p_t` and `others_i = p_i / (1 - p_t)` for i other than t, both from logarithms: the
 * others of a teacher that is sure of the label are as exact as those of one that is not. A label that is not listed
 * has an equal share of the tail.
 *
 * @param labels (rows), each in [0, classes)
 * @returns `own` (rows), and `others` (rows, classes), in which the label is listed at 0; what a row leaves over is the
 * share of the unlisted classes
 * @see Zhao et al., Decoupled Knowledge Distillation, arXiv 2203.08679, section 3.1
 */
export function decoupledTargets(
  { rows, offsets, indices, logProbabilities, tails }: SoftTargets,
  labels: Int32Array,
  { temperature, classes }: { readonly temperature: number; readonly classes: number },
): { readonly own: Float32Array; readonly others: CsrMatrix } {
  const own = new Float32Array(rows);
  const ends = new Int32Array(rows + 1);
  const classOf = new Int32Array(indices.length + rows); // a label that is not listed is one entry more
  const values = new Float32Array(classOf.length);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const [start, end] = [offsets[row], offsets[row + 1]];
    const unlisted = classes - (end - start);
    const isListed = indices.subarray(start, end).includes(labels[row]);
    const tail = tailSumAt(tails.subarray(row * tailSize, (row + 1) * tailSize), temperature);
    let ofLabel = tail - Math.log(unlisted);
    const ofTail = isListed ? tail : tail + Math.log((unlisted - 1) / unlisted);
    let largest = ofTail;
    for (let entry = start; entry < end; entry++) {
      const value = logProbabilities[entry] / temperature;
      if (indices[entry] === labels[row]) ofLabel = value;
      else if (value > largest) largest = value;
    }
    const first = at;
    let total = Math.exp(ofTail - largest);
    for (let entry = start; entry < end; entry++) {
      classOf[at] = indices[entry];
      if (indices[entry] !== labels[row]) {
        values[at] = Math.exp(logProbabilities[entry] / temperature - largest);
        total += values[at];
      }
      at++;
    }
    for (let entry = first; entry < at; entry++) values[entry] /= total;
    if (!isListed) classOf[at++] = labels[row];
    own[row] = 1 / (1 + Math.exp(largest + Math.log(total) - ofLabel));
    ends[row + 1] = at;
  }
  const others = {
    rows,
    columns: classes,
    offsets: ends,
    indices: classOf.subarray(0, at),
    values: values.subarray(0, at),
  };
  return { own, others };
}

/**
 * A teacher's distributions at a temperature, each from logits that were brought to mean 0 and deviation 1.
 *
 * `p = softmax((v - mean v) / (T deviation v))`, with the deviation over all classes: every class has to be listed.
 *
 * @returns (rows, classes)
 * @see Sun et al., Logit Standardization in Knowledge Distillation, arXiv 2403.01427, algorithm 1
 */
export function standardisedTargets(
  targets: SoftTargets,
  { temperature, classes }: { readonly temperature: number; readonly classes: number },
): CsrMatrix {
  const { rows } = targets;
  const values = fullLogits(targets, classes);
  for (let row = 0; row < rows; row++) {
    const logits = values.subarray(row * classes, (row + 1) * classes);
    const mean = logits.reduce((sum, v) => sum + v, 0) / classes;
    const deviation = Math.sqrt(logits.reduce((sum, v) => sum + (v - mean) ** 2, 0) / classes);
    const scale = deviation > 0 ? 1 / (temperature * deviation) : 0;
    logits.set(softmax(logits.map((v) => (v - mean) * scale)));
  }
  return {
    rows,
    columns: classes,
    offsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * classes),
    indices: Int32Array.from({ length: rows * classes }, (_, at) => at % classes),
    values,
  };
}
