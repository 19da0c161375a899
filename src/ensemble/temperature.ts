import type { Probabilities } from './fusion-input.js';

/**
 * What a softmax output of exactly zero stands for. A softmax is never zero but for underflow, and an exact
 * zero would let no dustbin's mass go there at all.
 */
export const smallestSoftmax = 1e-30;

/**
 * A distribution at a temperature: the softmax of its logits divided by T, found from the probabilities.
 *
 *     p_i^(1/T) / sum_j p_j^(1/T)
 *
 * @param probabilities (n), sums to 1
 * @param temperature T > 0; above 1 flattens, below 1 sharpens
 * @returns (n), sums to 1
 *
 * Cost: one power for each entry; a copy at T = 1. Source: Hinton, Vinyals and Dean (2015), equation 1.
 */
export function temper(probabilities: Probabilities, temperature: number): Float64Array {
  const tempered = Float64Array.from(probabilities);
  if (temperature === 1) return tempered;
  let largest = 0;
  for (const p of tempered) largest = Math.max(largest, p);
  let sum = 0;
  for (let i = 0; i < tempered.length; i++) {
    tempered[i] = (tempered[i] / largest) ** (1 / temperature);
    sum += tempered[i];
  }
  for (let i = 0; i < tempered.length; i++) tempered[i] /= sum;
  return tempered;
}
