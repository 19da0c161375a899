import type { CsrMatrix } from '../math/csr.js';
import type { SparseAnswers } from './answers.js';
import { tailSize, tailSumAt } from './tail.js';

/**
 * A teacher's answers at a temperature.
 *
 * `p_i = exp(l_i / T) / Z` for the listed classes, where `Z` is the sum over all classes: the unlisted ones are
 * known by their sum. What a row leaves over, `1 - sum p_i`, is exactly what they weigh at that temperature.
 *
 * @param answers of some rows
 * @param temperature T, 1 or more
 * @returns (rows, classes)
 * Cost: one exponential an entry.
 */
export function temperedTargets(
  { rows, offsets, indices, logProbabilities, tails }: SparseAnswers,
  { temperature, classes }: { readonly temperature: number; readonly classes: number },
): CsrMatrix {
  const knots = tailSize;
  const values = new Float32Array(indices.length);
  for (let row = 0; row < rows; row++) {
    const [start, end] = [offsets[row], offsets[row + 1]];
    const tail = tailSumAt(tails.subarray(row * knots, (row + 1) * knots), temperature);
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
 * The logits of answers that list every class.
 *
 * @returns (rows, classes)
 */
export function fullLogits(
  { rows, indices, offsets, logProbabilities }: SparseAnswers,
  classes: number,
): Float32Array {
  const logits = new Float32Array(rows * classes);
  for (let row = 0; row < rows; row++) {
    for (let entry = offsets[row]; entry < offsets[row + 1]; entry++)
      logits[row * classes + indices[entry]] = logProbabilities[entry];
  }
  return logits;
}
