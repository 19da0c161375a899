import { createRandom } from '../../core/random.js';
import { zipfWeights } from './apportion.js';
import type { Difficulty } from './difficulty.js';

/**
 * The true distribution of classes, long-tailed: Zipf's law over a random order of the classes, above a floor.
 *
 *     p_k = e / C + (1 - e) z_k,   z_k proportional to 1 / (rank_k + q C)
 *
 * Train, validation and test all follow it.
 *
 * @param classes C
 * @param difficulty `evenShare` e and `frequencyOffset` q
 * @returns shape (classes), sums to 1
 */
export function classFrequencies(
  classes: number,
  seed: number,
  { evenShare, frequencyOffset }: Difficulty,
): Float64Array {
  const weights = zipfWeights(classes, frequencyOffset * classes); // (classes), by rank
  const weightSum = weights.reduce((sum, weight) => sum + weight, 0);
  const ranks = createRandom(seed, 'jft-like', 'ranks').shuffle(
    Int32Array.from({ length: classes }, (_, k) => k),
  );
  return Float64Array.from(
    ranks,
    (rank) => evenShare / classes + ((1 - evenShare) * weights[rank]) / weightSum,
  );
}
