const ratio = (Math.sqrt(5) - 1) / 2;

/**
 * Minimises a function with one valley over a positive range, by golden-section search on the logarithm.
 *
 * @param f the function; evaluated about `log(ln(high / low) / tolerance) / 0.48` times
 * @param low the lower end, above 0
 * @param high the upper end
 * @param options `tolerance`, the relative width at which the search ends; `start`, kept unless beaten
 * @returns the best point that was tried, which need not be the last, and its value
 */
export function minimizeOnLogScale(
  f: (x: number) => number,
  low: number,
  high: number,
  { tolerance = 0.02, start }: { readonly tolerance?: number; readonly start?: number } = {},
): { readonly x: number; readonly value: number } {
  let best =
    start === undefined ? { x: low, value: Number.POSITIVE_INFINITY } : { x: start, value: f(start) };
  const at = (logX: number) => {
    const x = Math.exp(logX);
    const value = f(x);
    if (value < best.value) best = { x, value };
    return value;
  };
  let a = Math.log(low);
  let b = Math.log(high);
  let left = b - ratio * (b - a);
  let right = a + ratio * (b - a);
  let leftValue = at(left);
  let rightValue = at(right);
  while (b - a > tolerance) {
    if (leftValue <= rightValue) {
      b = right;
      right = left;
      rightValue = leftValue;
      left = b - ratio * (b - a);
      leftValue = at(left);
    } else {
      a = left;
      left = right;
      leftValue = rightValue;
      right = a + ratio * (b - a);
      rightValue = at(right);
    }
  }
  return best;
}
