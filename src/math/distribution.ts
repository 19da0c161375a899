/**
 * Whether every row is a distribution, as hardly any logits are: no number below 0, and a sum of 1.
 *
 * @param values (rows, classes)
 * @param tolerance of the sum
 * @returns false for rows of one number, which would tell nothing
 */
export function areDistributions(values: Float32Array, classes: number, tolerance: number): boolean {
  for (let start = 0; start < values.length; start += classes) {
    let sum = 0;
    for (let at = start; at < start + classes; at++) sum += values[at] >= 0 ? values[at] : Number.NaN;
    if (!(Math.abs(sum - 1) <= tolerance)) return false;
  }
  return classes > 1;
}
