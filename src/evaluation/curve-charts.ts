import * as Plot from '@observablehq/plot';
import { percent } from '../core/percent.js';
import { epochText } from '../core/quantity-text.js';
import {
  figure,
  legendOf,
  lineFrame,
  percentAxis,
  seriesColour,
  spanOf,
  wholeTicks,
  xAxisStyle,
} from './chart-frame.js';

/** A check of the generalist's training, at least after each epoch. */
export interface CurvePoint {
  /** Epochs done. */
  readonly epoch: number;
  /** Mean training loss over the epoch so far. */
  readonly loss: number;
  /** Top-1 on validation after the epoch. */
  readonly validationTop1?: number;
  /** Mean negative log-likelihood on validation after the epoch, in nats. */
  readonly validationLoss?: number;
}

/** Validation accuracy over the epochs of training; empty for less than two. */
export function trainingCurve(curve: readonly CurvePoint[], description: string): string {
  const points = curve.flatMap(({ epoch, validationTop1 }) =>
    validationTop1 === undefined ? [] : [{ epoch, top1: validationTop1 }],
  );
  if (points.length < 2) return '';
  const last = points[points.length - 1];
  const most = Math.max(...points.map(({ top1 }) => top1)) || 1;
  return figure(description, ({ width, isNarrow }) => ({
    ...lineFrame(isNarrow),
    x: { label: 'epoch', domain: [points[0].epoch, last.epoch] },
    y: { label: null, domain: [0, most], nice: true },
    marks: [
      ...percentAxis(most),
      Plot.axisX(wholeTicks(points[0].epoch, last.epoch, width / 60), xAxisStyle),
      Plot.line(points, { x: 'epoch', y: 'top1', stroke: 'var(--gain)', strokeWidth: 2 }),
      Plot.dot(points, {
        x: 'epoch',
        y: 'top1',
        r: points.length > 40 ? 1.5 : 3,
        fill: 'var(--gain)',
        title: ({ epoch, top1 }) => `epoch ${epochText(epoch)}: ${percent(top1)}`,
      }),
      Plot.text([last], {
        x: 'epoch',
        y: 'top1',
        text: ({ top1 }) => percent(top1),
        textAnchor: 'start',
        dx: 8,
        fill: 'var(--ink)',
        fontWeight: 600,
      }),
    ],
  }));
}

/** Losses over the epochs: one line for training, one for validation where it was looked at; empty for less than two epochs. */
export function lossCurve(curve: readonly CurvePoint[], description: string): string {
  const lines = [
    { name: 'training', points: curve.map(({ epoch, loss }) => ({ epoch, loss })) },
    {
      name: 'validation',
      points: curve.flatMap(({ epoch, validationLoss }) =>
        validationLoss === undefined ? [] : [{ epoch, loss: validationLoss }],
      ),
    },
  ].filter(({ points }) => points.length > 1);
  if (lines.length === 0) return '';
  return lineChart(lines, description) + legendOf(lines.map(({ name }) => name));
}

/** The training loss of each specialist over its epochs, as a thin line; empty where none has two epochs. */
export function specialistCurves(
  curves: readonly { readonly id: number; readonly points: readonly CurvePoint[] }[],
  description: string,
): string {
  const lines = curves.filter(({ points }) => points.length > 1).map(({ points }) => ({ points }));
  return lines.length === 0 ? '' : lineChart(lines, description, { isThin: true });
}

function lineChart(
  lines: readonly {
    readonly points: readonly { readonly epoch: number; readonly loss: number }[];
  }[],
  description: string,
  { isThin = false } = {},
): string {
  const all = lines.flatMap(({ points }) => points);
  const epochs = all.map(({ epoch }) => epoch);
  const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
  const most = Math.max(...all.map(({ loss }) => loss));
  return figure(
    description,
    ({ width, isNarrow }) => ({
      ...lineFrame(isNarrow),
      marginRight: 12,
      x: { label: 'epoch', domain: [first, last] },
      y: { label: null, domain: [0, most], nice: true },
      marks: [
        Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 }),
        Plot.axisY({ tickSize: 0, ticks: 5, fill: 'var(--soft)' }),
        Plot.axisX(wholeTicks(first, last, width / 60), xAxisStyle),
        ...lines.map(({ points }, index) =>
          Plot.line(points, {
            x: 'epoch',
            y: 'loss',
            stroke: isThin ? 'var(--accent)' : seriesColour(index),
            strokeWidth: isThin ? 1 : 2,
            ...(isThin && { strokeOpacity: Math.max(0.15, Math.min(0.8, 12 / lines.length)) }),
          }),
        ),
      ],
    }),
    { wide: 414 },
  );
}

/** A student of a sweep with its accuracy on validation. */
export interface SweepPoint {
  readonly temperature: number;
  readonly hardWeight: number;
  readonly validation: { readonly examples: number; readonly errors: number; readonly top1: number };
}

/** Validation accuracy over the temperature, on a logarithmic axis, with one standard error; a line for each weight. */
export function sweepChart(
  candidates: readonly SweepPoint[],
  { best, teacher, description }: { best: SweepPoint; teacher: number | undefined; description: string },
): string {
  const weights = [...new Set(candidates.map(({ hardWeight }) => hardWeight))].sort((a, b) => a - b);
  const nameOf = (weight: number) => (weights.length > 1 ? `labels × ${weight}` : 'student');
  const points = candidates
    .map(({ temperature, hardWeight, validation: { examples, errors, top1 } }) => ({
      temperature,
      weight: nameOf(hardWeight),
      top1,
      standardError: Math.sqrt((top1 * (1 - top1)) / Math.max(1, examples)),
      title: `T = ${temperature}, weight ${hardWeight}: ${percent(top1)}, ${errors} errors`,
    }))
    .sort((a, b) => a.temperature - b.temperature);
  const temperatures = [...new Set(points.map(({ temperature }) => temperature))];
  const [low, high] = [temperatures[0], temperatures[temperatures.length - 1]];
  const ends = points.flatMap(({ top1, standardError }) => [top1 - standardError, top1 + standardError]);
  if (teacher !== undefined) ends.push(teacher);
  const chart = figure(description, ({ isNarrow }) => ({
    ...lineFrame(isNarrow),
    height: isNarrow ? 260 : 330,
    marginRight: 16,
    x: { type: 'log', label: 'temperature', domain: low === high ? [low / 2, high * 2] : [low, high] },
    y: { label: null, nice: true },
    color: { domain: weights.map(nameOf), range: weights.map((_, index) => seriesColour(index)) },
    marks: [
      ...percentAxis(spanOf(ends)),
      Plot.axisX(temperatures, { ...xAxisStyle, text: String }),
      ...(teacher === undefined
        ? []
        : [
            Plot.ruleY([teacher], { stroke: 'var(--soft)', strokeDasharray: '5 4' }),
            Plot.text([teacher], {
              y: teacher,
              text: [`teacher ${percent(teacher)}`],
              frameAnchor: 'left',
              textAnchor: 'start',
              dx: 4,
              dy: -8,
              fill: 'var(--soft)',
            }),
          ]),
      Plot.line(points, { x: 'temperature', y: 'top1', stroke: 'weight', strokeWidth: 2 }),
      Plot.ruleX(points, {
        x: 'temperature',
        y1: ({ top1, standardError }) => top1 - standardError,
        y2: ({ top1, standardError }) => top1 + standardError,
        stroke: 'weight',
        strokeOpacity: 0.6,
      }),
      Plot.dot(points, { x: 'temperature', y: 'top1', fill: 'weight', r: 4, title: 'title' }),
      Plot.dot([best], {
        x: 'temperature',
        y: ({ validation }) => validation.top1,
        r: 8,
        stroke: 'var(--ink)',
        strokeWidth: 1.5,
        className: 'chosen',
      }),
    ],
  }));
  return legendOf(weights.map(nameOf)) + chart;
}
