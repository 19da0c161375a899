import { signedPercent } from '../core/percent.js';
import { ticksAround } from './chart-ticks.js';
import { escapeHtml } from './html.js';

/** One row of a chart: a value with its standard error, as fractions. */
export interface ChartRow {
  readonly label: string;
  readonly value: number;
  readonly standardError: number;
  /** What a pointer over the row shows. */
  readonly title: string;
}

const rowHeight = 22;
const labelWidth = 120;
const plotWidth = 572;
const valueWidth = 120;
const axisHeight = 26;

/**
 * Rows of signed values against a common zero line, as inline SVG: bars, or dots, with error bars of one
 * standard error. Colours come from the page (`currentColor` and its custom properties).
 */
export function signedChart(rows: readonly ChartRow[], mark: 'bar' | 'dot', description: string): string {
  const low = Math.min(0, ...rows.map(({ value, standardError }) => value - standardError));
  const high = Math.max(0, ...rows.map(({ value, standardError }) => value + standardError));
  const ticks = ticksAround(low, high > low ? high : 0.01, 5);
  const [first] = ticks;
  const step = ticks[1] - first;
  const x = (value: number) => labelWidth + ((value - first) / (ticks[ticks.length - 1] - first)) * plotWidth;
  const height = rows.length * rowHeight + axisHeight;
  const width = labelWidth + plotWidth + valueWidth;
  const digits = step < 0.01 ? (step < 0.001 ? 2 : 1) : 0;

  const grid = ticks.map((value) => {
    const at = x(value).toFixed(1);
    return (
      `<line class="${value === 0 ? 'zero' : 'grid'}" x1="${at}" x2="${at}" y1="0" y2="${rows.length * rowHeight}"/>` +
      `<text class="tick" x="${at}" y="${height - 8}" text-anchor="middle">${signedPercent(value, digits)}</text>`
    );
  });
  const marks = rows.map(({ label, value, standardError, title }, i) => {
    const y = i * rowHeight + rowHeight / 2;
    const kind = value < 0 ? 'loss' : 'gain';
    const from = Math.min(x(0), x(value));
    const shape =
      mark === 'bar'
        ? `<rect class="${kind}" x="${from.toFixed(1)}" y="${y - 7}" width="${Math.abs(x(value) - x(0)).toFixed(1)}" height="14" rx="2"/>`
        : `<circle class="${kind}" cx="${x(value).toFixed(1)}" cy="${y}" r="4.5"/>`;
    const error = `<line class="error" x1="${x(value - standardError).toFixed(1)}" x2="${x(value + standardError).toFixed(1)}" y1="${y}" y2="${y}"/>`;
    return (
      `<g><title>${escapeHtml(title)}</title>` +
      `<text x="0" y="${y + 4}">${escapeHtml(label)}</text>` +
      (mark === 'bar' ? shape + error : error + shape) +
      `<text class="value" x="${width}" y="${y + 4}" text-anchor="end">${signedPercent(value)} ± ${(100 * standardError).toFixed(1)}</text></g>`
    );
  });
  return (
    `<div class="scroll"><svg role="img" aria-label="${escapeHtml(description)}" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}">${grid.join('')}${marks.join('')}</svg></div>`
  );
}
