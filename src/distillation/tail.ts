/*
 * What the classes that a sparse answer leaves out weigh at any temperature.
 *
 * Their sum at temperature T is `sum exp(l_i / T)`; its logarithm is a smooth, convex function of 1/T, so a few values
 * of it, and parabolas between them, tell it for every T of 1 and more. At 1/T = 0 it is the logarithm of their number.
 */
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
