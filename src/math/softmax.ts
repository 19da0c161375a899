/**
 * log(sum_i exp(v_i)), without overflow: the largest value is taken out first.
 *
 * @param values (n), any finite numbers or -Infinity
 * @returns -Infinity for no values; cost O(n)
 */
export function logSumExp(values: ArrayLike<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < values.length; index++) largest = Math.max(largest, values[index]);
  if (!Number.isFinite(largest)) return largest;
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += Math.exp(values[index] - largest);
  return largest + Math.log(sum);
}

/**
 * The distribution of logits at a temperature.
 *
 * p_i = exp(v_i / T) / sum_j exp(v_j / T)
 *
 * @param logits (n), at least one of them above -Infinity
 * @param options.temperature T > 0; above 1 the distribution is softer
 * @param options.out (n), where the answer is written instead of into a new array; may be `logits` itself
 * @returns (n), sums to 1; cost: one exponential for each logit
 *
 * Source: Hinton et al. 2015, equation 1.
 *
 * @example
 * softmax([0, Math.log(3)]); // [0.25, 0.75]
 */
export function softmax(
  logits: ArrayLike<number>,
  options?: { readonly temperature?: number; readonly out?: Float64Array },
): Float64Array;
export function softmax<Out extends Float32Array | Float64Array>(
  logits: ArrayLike<number>,
  options: { readonly temperature?: number; readonly out: Out },
): Out;
export function softmax(
  logits: ArrayLike<number>,
  {
    temperature = 1,
    out = new Float64Array(logits.length),
  }: { readonly temperature?: number; readonly out?: Float32Array | Float64Array } = {},
): Float32Array | Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < logits.length; index++) {
    if (logits[index] > largest) largest = logits[index];
  }
  let sum = 0;
  for (let index = 0; index < logits.length; index++) {
    const exponential = Math.exp((logits[index] - largest) / temperature);
    out[index] = exponential;
    sum += exponential;
  }
  for (let index = 0; index < logits.length; index++) out[index] /= sum;
  return out;
}
