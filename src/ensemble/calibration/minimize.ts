const golden = (3 - Math.sqrt(5)) / 2; // the smaller part of a golden section

/** Options of {@link minimize}. */
export interface MinimizeOptions {
  /** `log` for a range above 0: the search, and so the tolerance, is on the logarithm. */
  readonly scale?: 'log' | 'linear';
  /** The distance from the bottom at which the search ends: relative on the `log` scale, else absolute. */
  readonly tolerance?: number;
  /** Where it begins, else a golden section; outside the range (0, say) it is tried, and kept unless beaten. */
  readonly start?: number;
}

/**
 * Minimises a function with one valley by Brent's method: the bottom of the parabola through the three best points, or
 * a golden section where the parabola is of no use.
 *
 * @param f the function; on a smooth valley evaluated about seven times, at an end of the range about twice as often
 * @param low the lower end
 * @param high the upper end
 * @returns the best point that was tried, which need not be the last, and its value
 *
 * Source: R. P. Brent, Algorithms for Minimization without Derivatives, 1973, chapter 5.
 */
export async function minimize(
  f: (x: number) => number | Promise<number>,
  low: number,
  high: number,
  { scale = 'log', tolerance = 0.01, start }: MinimizeOptions = {},
): Promise<{ readonly x: number; readonly value: number }> {
  const [into, outOf] = scale === 'log' ? [Math.log, Math.exp] : [identity, identity];
  let a = into(low);
  let b = into(high);
  const isOutside = start !== undefined && !(start > low && start < high);
  let best = isOutside ? { x: start, value: await f(start) } : { x: low, value: Number.POSITIVE_INFINITY };
  const at = async (position: number, x = outOf(position)) => {
    const value = await f(x);
    if (value < best.value) best = { x, value };
    return { x: position, value };
  };
  let first = await (start === undefined || isOutside ? at(a + golden * (b - a)) : at(into(start), start));
  let second = first;
  let third = first;
  let step = 0;
  let stepBefore = 0;
  for (;;) {
    const middle = (a + b) / 2;
    if (Math.abs(first.x - middle) <= 2 * tolerance - (b - a) / 2) return best;
    const bottom = Math.abs(stepBefore) > tolerance ? parabolaStep(first, second, third) : Number.NaN;
    const to = first.x + bottom;
    if (Math.abs(bottom) < Math.abs(stepBefore) / 2 && to > a && to < b) {
      stepBefore = step;
      step =
        to - a < 2 * tolerance || b - to < 2 * tolerance ? Math.sign(middle - first.x) * tolerance : bottom;
    } else {
      stepBefore = (first.x < middle ? b : a) - first.x;
      step = golden * stepBefore;
    }
    const next = await at(first.x + (Math.abs(step) < tolerance ? Math.sign(step) * tolerance : step));
    if (next.value <= first.value) {
      if (next.x < first.x) b = first.x;
      else a = first.x;
      [third, second, first] = [second, first, next];
      continue;
    }
    if (next.x < first.x) a = next.x;
    else b = next.x;
    if (next.value <= second.value || second.x === first.x) [third, second] = [second, next];
    else if (next.value <= third.value || third.x === first.x || third.x === second.x) third = next;
  }
}

const identity = (x: number) => x;

interface Point {
  readonly x: number;
  readonly value: number;
}

/** From the first of three points to the bottom of the parabola through them; NaN if they have none. */
function parabolaStep(first: Point, second: Point, third: Point): number {
  const r = (first.x - second.x) * (first.value - third.value);
  const q = (first.x - third.x) * (first.value - second.value);
  const curvature = 2 * (q - r);
  return curvature === 0 ? Number.NaN : -((first.x - third.x) * q - (first.x - second.x) * r) / curvature;
}
