/** A time as a person says it: `7.2 s`, `3 min 05 s`, `2 h 07 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** A whole number with its thousands set apart: `15,000`. */
export function count(value: number): string {
  return value.toLocaleString('en');
}

/** Epochs, of which early stopping may have done a part: `12`, `23.76`. */
export function epochText(epochs: number): string {
  return epochs.toLocaleString('en', { maximumFractionDigits: 2 });
}

/** A size in the decimal units of SI: `7.9 MB`. */
export function byteSize(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB']);
}

/** Floating-point operations: `271 GFLOP`. */
export function operations(flops: number): string {
  return scaled(flops, ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP']);
}

/** Three digits, or as many as stand before the point, and the unit that leaves no more than three of those. */
function scaled(value: number, units: readonly string[]): string {
  let power = 0;
  while (power + 1 < units.length && value >= 999.5 * 1000 ** power) power++;
  const digits = (value / 1000 ** power).toPrecision(3);
  return `${power === 0 ? count(value) : Number(digits)} ${units[power]}`;
}
