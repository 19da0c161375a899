import { percent } from '../core/percent.js';
import { escapeHtml } from './html.js';

/** One epoch of the generalist's training. */
export interface CurvePoint {
  readonly epoch: number;
  /** Mean training loss over the epoch. */
  readonly loss: number;
  /** Top-1 on validation after the epoch. */
  readonly validationTop1?: number;
  /** Mean negative log-likelihood on validation after the epoch, in nats. */
  readonly validationLoss?: number;
}

const width = 780;
const height = 220;
const margin = { left: 48, right: 60, top: 14, bottom: 26 };

/** Validation accuracy over the epochs of training, as inline SVG; empty without any. */
export function trainingCurve(points: readonly CurvePoint[], description: string): string {
  const measured = points.flatMap(({ epoch, validationTop1 }) =>
    validationTop1 === undefined ? [] : [{ epoch, value: validationTop1 }],
  );
  if (measured.length < 2) return '';
  const top = Math.max(...measured.map(({ value }) => value)) * 1.05 || 1;
  const last = measured[measured.length - 1];
  const x = (epoch: number) =>
    margin.left + ((epoch - 1) / Math.max(1, last.epoch - 1)) * (width - margin.left - margin.right);
  const y = (value: number) => height - margin.bottom - (value / top) * (height - margin.top - margin.bottom);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = y(share * top).toFixed(1);
    return (
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${at}" y2="${at}"/>` +
      `<text class="tick" x="${margin.left - 6}" y="${Number(at) + 4}" text-anchor="end">${percent(share * top, 0)}</text>`
    );
  });
  const labels = [measured[0], last].map(
    ({ epoch }) =>
      `<text class="tick" x="${x(epoch).toFixed(1)}" y="${height - 8}" text-anchor="middle">epoch ${epoch}</text>`,
  );
  const line = measured.map(({ epoch, value }) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const dots = measured.map(
    ({ epoch, value }) =>
      `<circle class="gain" cx="${x(epoch).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3">` +
      `<title>epoch ${epoch}: ${percent(value)}</title></circle>`,
  );
  return (
    `<div class="scroll"><svg role="img" aria-label="${escapeHtml(description)}" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}">${grid.join('')}${labels.join('')}` +
    `<polyline points="${line}" fill="none" stroke="currentColor" stroke-width="1.5"/>${dots.join('')}` +
    `<text class="value" x="${width}" y="${(y(last.value) + 4).toFixed(1)}" text-anchor="end">${percent(last.value)}</text></svg></div>`
  );
}
