import { percent } from '../../src/core/percent.js';
import type { Estimate } from '../../src/math/mean.js';

export const signed = (share: number, digits = 1) => `${share >= 0 ? '+' : ''}${percent(share, digits)}`;
export const teras = (flops: number) => `${(flops / 1e12).toFixed(2)} TFLOP`;
export const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** An accuracy with the standard error on its images, or the mean over seeds with their standard deviation. */
export function within(values: readonly Estimate[]): string {
  const mean = meanOf(values.map((value) => value.mean));
  if (values.length === 1) return `${percent(mean)} ± ${(100 * values[0].standardError).toFixed(1)}`;
  const squares = values.reduce((sum, value) => sum + (value.mean - mean) ** 2, 0);
  return `${percent(mean)} ± ${(100 * Math.sqrt(squares / (values.length - 1))).toFixed(1)}`;
}

/** A table whose first column is text. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    line(header),
    line(header.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
  ].join('\n');
}
