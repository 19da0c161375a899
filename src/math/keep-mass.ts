import { topK } from './top-k.js';

/**
 * The most probable classes, as few as reach the mass, at most `maxTop`.
 *
 * @param probabilities (classes)
 * @returns indices and values, the most probable first; both views of arrays of `maxTop`
 */
export function keepMass(
  probabilities: ArrayLike<number>,
  mass: number,
  maxTop: number,
): { readonly indices: Int32Array; readonly values: Float32Array } {
  const { indices, values } = topK(probabilities, Math.min(maxTop, probabilities.length));
  let count = 0;
  let sum = 0;
  while (count < values.length && sum < mass) sum += values[count++];
  return { indices: indices.subarray(0, count), values: values.subarray(0, count) };
}
