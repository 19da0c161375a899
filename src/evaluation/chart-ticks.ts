/** Round numbers from the last at or below `low` to the first at or above `high`, at most `count` steps apart. */
export function ticksAround(low: number, high: number, count: number): readonly number[] {
  const step = tickStep((high - low || Math.abs(high) || 1) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** The round number (1, 2 or 5 times a power of ten) that is at least `least`. */
function tickStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) ?? 10);
}
