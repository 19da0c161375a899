/** A fraction as per cent: `43.1%`. */
export function percent(fraction: number, digits = 1): string {
  return `${(100 * fraction).toFixed(digits)}%`;
}

/** A fraction in per cent, such as a bound that somebody set, with three digits where it has them: `0.5%`, `0.125%`. */
export function shortPercent(fraction: number): string {
  return `${Number((100 * fraction).toPrecision(3))}%`;
}

/** A fraction with its standard error, both in per cent: `43.1% ± 0.4`. */
export function percentWithin(fraction: number, standardError: number): string {
  return `${percent(fraction)} ± ${(100 * standardError).toFixed(1)}`;
}

/** A fraction as signed per cent, such as `+3.4%`, with the sign of a true minus. */
export function signedPercent(fraction: number, digits = 1): string {
  const text = (100 * Math.abs(fraction)).toFixed(digits);
  const sign = Number(text) === 0 ? '' : fraction < 0 ? '−' : '+';
  return `${sign}${text}%`;
}

/** A difference with its standard error, both in per cent: `+2.8% ± 0.3`. */
export function signedWithin(fraction: number, standardError: number): string {
  return `${signedPercent(fraction)} ± ${(100 * standardError).toFixed(1)}`;
}
