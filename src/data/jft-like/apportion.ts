/**
 * Zipf's law with an offset: weight `1 / (rank + offset)` for rank 0, 1, ...
 *
 * @param count number of weights
 * @param offset above 0; the larger, the less the first ranks stand out
 * @returns shape (count), descending, not normalised
 */
export function zipfWeights(count: number, offset: number): Float64Array {
  return Float64Array.from({ length: count }, (_, rank) => 1 / (rank + offset));
}

/**
 * Divides a whole number into whole parts in proportion to weights, by rounding the running sum:
 *
 *     parts[k] = round(R * (w_0 + ... + w_k) / W) - round(R * (w_0 + ... + w_(k-1)) / W) + minimum
 *
 * with R what remains when every part has its minimum. Each part differs from its exact share of R by less
 * than one, and runs of small shares get a one at even distances. Uses only + - * /, so that the parts are the
 * same on every machine.
 *
 * @param total whole, at least `minimum * weights.length`
 * @param weights shape (parts), not negative, with a positive sum
 * @param options.minimum smallest part, whole, 0 by default
 * @returns shape (parts), whole numbers with sum `total`
 */
export function apportion(
  total: number,
  weights: ArrayLike<number>,
  { minimum = 0 }: { readonly minimum?: number } = {},
): Int32Array {
  let weightSum = 0;
  for (let part = 0; part < weights.length; part++) weightSum += weights[part];
  const rest = total - minimum * weights.length;

  const parts = new Int32Array(weights.length);
  let runningSum = 0;
  let given = 0;
  for (let part = 0; part < weights.length; part++) {
    runningSum += weights[part];
    const due = part === weights.length - 1 ? rest : Math.floor((rest * runningSum) / weightSum + 0.5);
    parts[part] = due - given + minimum;
    given = due;
  }
  return parts;
}
