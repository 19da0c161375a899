import { percent } from '../core/percent.js';
import { lineChart } from './line-chart.js';

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

/** Validation accuracy over the epochs of training, as inline SVG; empty without any. */
export function trainingCurve(curve: readonly CurvePoint[], description: string): string {
  const points = curve.flatMap(({ epoch, validationTop1 }) =>
    validationTop1 === undefined
      ? []
      : [{ x: epoch, y: validationTop1, title: `epoch ${epoch}: ${percent(validationTop1)}` }],
  );
  if (points.length < 2) return '';
  const top = Math.max(...points.map(({ y }) => y)) * 1.05 || 1;
  const last = points[points.length - 1];
  return lineChart({
    lines: [{ points }],
    xTicks: [points[0], last].map(({ x }) => ({ at: x, text: `epoch ${x}` })),
    yTicks: [0, 0.25, 0.5, 0.75, 1].map((share) => ({ at: share * top, text: percent(share * top, 0) })),
    last: { at: last.y, text: percent(last.y) },
    description,
  });
}
