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
 * @returns (n), sums to 1; cost O(n)
 *
 * Source: Hinton et al. 2015, equation 1.
 *
 * @example
 * softmax([0, Math.log(3)]); // 0.25, 0.75
 */
export function softmax(
  logits: ArrayLike<number>,
  { temperature = 1 }: { readonly temperature?: number } = {},
): Float64Array {
  const probabilities = Float64Array.from(logits, (logit) => logit / temperature); // (n)
  const normaliser = logSumExp(probabilities);
  for (let index = 0; index < probabilities.length; index++) {
    probabilities[index] = Math.exp(probabilities[index] - normaliser);
  }
  return probabilities;
}
