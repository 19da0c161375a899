/** Number of equally likely values of {@link gaussianQuantiles}: one for each 16-bit number. */
const quantileCount = 0x1_0000;
const rootTwoPi = 2.5066282746310002; // sqrt(2 pi), correctly rounded

let table: Float32Array | undefined;

/**
 * The standard normal distribution as 65,536 equally likely values, the same to the bit on every machine.
 *
 *     table[k] = z with Phi(z) = (k + 1/2) / 65536
 *
 * `Math.exp`, `log` and `sin` may differ in their last bit between machines, so the usual transformations of
 * uniform numbers would not give the same images everywhere. This table needs only + - * /, which IEEE 754
 * fixes: `Phi(z) - 1/2 = S(z) / (sqrt(2 pi) E(z))`, with `S(z) = sum z^(2n+1) / (2n+1)!!` and
 * `E(z) = sum (z^2/2)^n / n! = exp(z^2/2)`, both of positive terms, inverted by Newton's method.
 *
 * @returns shape (65536), ascending and antisymmetric; the same array each time, not to be changed
 */
export function gaussianQuantiles(): Float32Array {
  table ??= computeQuantiles();
  return table;
}

function computeQuantiles(): Float32Array {
  const quantiles = new Float32Array(quantileCount);
  const half = quantileCount / 2;
  let z = 0;
  for (let k = 0; k < half; k++) {
    z = solve((k + 0.5) / quantileCount, z);
    quantiles[half + k] = z;
    quantiles[half - 1 - k] = -z;
  }
  return quantiles;
}

/** The z > 0 with `Phi(z) - 1/2 = mass`, from a lower bound: Phi is concave there, so the steps only ascend. */
function solve(mass: number, lowerBound: number): number {
  let z = lowerBound;
  for (let iteration = 0; iteration < 50; iteration++) {
    const { series, exponential } = normalSeries(z);
    const step = mass * rootTwoPi * exponential - series; // (mass - (Phi(z) - 1/2)) / density(z)
    z += step;
    if (step < 1e-12) break;
  }
  return z;
}

function normalSeries(z: number): { readonly series: number; readonly exponential: number } {
  const square = z * z;
  let series = z;
  let exponential = 1;
  let seriesTerm = z;
  let exponentialTerm = 1;
  for (let n = 1; seriesTerm > series * 1e-17 || exponentialTerm > exponential * 1e-17; n++) {
    seriesTerm *= square / (2 * n + 1);
    exponentialTerm *= square / (2 * n);
    series += seriesTerm;
    exponential += exponentialTerm;
  }
  return { series, exponential };
}
