import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { percent, signedPercent } from '../core/percent.js';
import { epochText, operations } from '../core/quantity-text.js';
import { escapeHtml } from './html.js';

/*
 * The charts of the pages, drawn by Observable Plot as inline SVG.
 *
 * A page has no script that could fit a picture to the window, and text in a picture that is scaled down cannot be
 * read. So each chart is drawn twice, for a desktop and for a telephone, and the style sheet shows one. Colours are
 * custom properties of the page, so that one picture serves light and dark.
 */
const layouts = [
  { name: 'wide', width: 812 },
  { name: 'narrow', width: 358 },
] as const;

interface Layout {
  readonly width: number;
  readonly isNarrow: boolean;
}

/** @param description for those who do not see the picture */
function figure(description: string, draw: (layout: Layout) => Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const pictures = layouts.map(({ name, width }) => {
    const svg = Plot.plot({
      document,
      width,
      className: `chart-${name}`,
      ...draw({ width, isNarrow: name === 'narrow' }),
    });
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', description);
    return String(svg.outerHTML);
  });
  return `<div class="chart">${pictures.join('')}</div>`;
}

/**
 * Percentages on an axis, with as many digits as tell its ticks apart.
 *
 * @param span of the axis, which Plot divides into about `count` steps of 1, 2 or 5 times a power of ten
 */
function percentTicks(format: (fraction: number, digits: number) => string, span: number, count: number) {
  const step = span / count / Math.SQRT1_2; // from sqrt(1/2) of a step Plot rounds up to it
  const digits = step < 0.001 ? 2 : step < 0.01 ? 1 : 0;
  return (fraction: number) => format(fraction, digits);
}

/** Whether it is the first or the last of a list. */
const isEnd = (_: unknown, index: number, all: readonly unknown[]) => index === 0 || index === all.length - 1;

const spanOf = (values: readonly number[]) => Math.max(...values) - Math.min(...values);

/** One row of {@link signedChart}: a value with its standard error, as fractions. */
export interface SignedRow {
  readonly label: string;
  readonly value: number;
  readonly standardError: number;
  /** What a pointer over the row shows. */
  readonly title: string;
}

/** Rows of signed values against a common zero line, with one standard error: bars where few, dots where many. */
export function signedChart(rows: readonly SignedRow[], mark: 'bar' | 'dot', description: string): string {
  const colour = ({ value }: SignedRow) => (value < 0 ? 'var(--loss)' : 'var(--gain)');
  const labels = rows.map(({ label }) => label);
  const ends = rows.flatMap(({ value, standardError }) => [value - standardError, value + standardError]);
  const domain = [Math.min(0, ...ends), Math.max(0, ...ends)];
  if (domain[0] === domain[1]) domain[1] = 0.01;
  return figure(description, ({ isNarrow }) => ({
    height: rows.length * 24 + 34,
    marginTop: 2,
    marginBottom: 32,
    marginLeft: isNarrow ? 100 : 112,
    marginRight: isNarrow ? 92 : 108,
    x: { label: null, nice: true, domain },
    y: { label: null, domain: labels, padding: 0.4 },
    marks: [
      Plot.gridX({ stroke: 'var(--line)', strokeOpacity: 1, ticks: isNarrow ? 3 : 7 }),
      Plot.axisX({
        tickSize: 0,
        ticks: isNarrow ? 3 : 7,
        fill: 'var(--soft)',
        tickFormat: percentTicks(signedPercent, spanOf(domain), isNarrow ? 3 : 7),
      }),
      Plot.axisY({ tickSize: 0, fill: 'var(--ink)' }),
      Plot.ruleX([0], { stroke: 'var(--soft)' }),
      ...(mark === 'bar'
        ? [Plot.barX(rows, { x: 'value', y: 'label', fill: colour, title: 'title', rx: 2 }), errorBars(rows)]
        : [
            errorBars(rows),
            Plot.dot(rows, { x: 'value', y: 'label', r: 4.5, fill: colour, title: 'title' }),
          ]),
      Plot.text(rows, {
        y: 'label',
        text: ({ value, standardError }) => `${signedPercent(value)} ± ${(100 * standardError).toFixed(1)}`,
        frameAnchor: 'right',
        textAnchor: 'end',
        dx: isNarrow ? 92 : 108,
        fill: 'var(--ink)',
        fontVariant: 'tabular-nums',
      }),
    ],
  }));
}

const errorBars = (rows: readonly SignedRow[]) =>
  Plot.ruleY(rows, {
    x1: ({ value, standardError }) => value - standardError,
    x2: ({ value, standardError }) => value + standardError,
    y: 'label',
    stroke: 'var(--ink)',
    strokeOpacity: 0.55,
    strokeWidth: 1.5,
  });

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

/** A rule of routing with its accuracy on validation. */
export interface RoutingPoint {
  readonly rule: 'top' | 'mass';
  /** n of the first n classes, or the least mass on a subset. */
  readonly value: number;
  /** Active specialists, mean over the images. */
  readonly active: number;
  readonly flopsPerImage: number;
  readonly top1: number;
}

/** When a rule makes a specialist active, in words. */
export const routingRuleText = ({ rule, value }: RoutingPoint) =>
  rule === 'top'
    ? `first ${value === 1 ? 'class' : `${value} classes`}`
    : `mass of ${percent(value, 0)} or more`;

/** The least height of the picture, so that differences which are noise look small. */
const leastRoutingSpan = 0.02;

/**
 * Accuracy over computation: a line through the rules of n classes, whose first point is the paper's, and one through
 * those of a least mass; empty unless a line has two points.
 */
export function routingCurve(routing: readonly RoutingPoint[], description: string): string {
  const lineOf = (wanted: RoutingPoint['rule']) =>
    routing.filter(({ rule }) => rule === wanted).toSorted((a, b) => a.flopsPerImage - b.flopsPerImage);
  const lines = [lineOf('top'), lineOf('mass')];
  if (Math.max(...lines.map(({ length }) => length)) < 2) return '';
  const tops = routing.map(({ top1 }) => top1);
  const middle = (Math.min(...tops) + Math.max(...tops)) / 2;
  const meanTop1 = (points: readonly RoutingPoint[]) =>
    points.reduce((sum, { top1 }) => sum + top1, 0) / Math.max(1, points.length);
  const isTopBelow = meanTop1(lines[0]) < meanTop1(lines[1]);
  const domain = [
    Math.min(...tops, middle - leastRoutingSpan / 2),
    Math.max(...tops, middle + leastRoutingSpan / 2),
  ];
  return figure(description, ({ isNarrow }) => ({
    ...lineFrame(isNarrow),
    marginRight: 30,
    x: { label: 'operations an image', inset: 14 },
    y: { label: null, nice: true, domain, inset: 14 },
    marks: [
      ...percentAxis(spanOf(domain)),
      Plot.axisX({
        ...xAxisStyle,
        ticks: isNarrow ? 2 : 6,
        tickFormat: (flops: number) => operations(flops),
      }),
      ...lines.flatMap((points, index) => {
        const isBelow = (index === 0) === isTopBelow;
        return [
          Plot.line(points, {
            x: 'flopsPerImage',
            y: 'top1',
            stroke: 'var(--ink)',
            strokeWidth: 1.5,
            ...(index === 1 && { strokeDasharray: '5 4' }),
          }),
          Plot.dot(points, {
            x: 'flopsPerImage',
            y: 'top1',
            r: 3.5,
            fill: index === 1 ? 'var(--page)' : 'var(--gain)',
            stroke: 'var(--gain)',
            title: (point) =>
              `${routingRuleText(point)}: ${percent(point.top1)} for ${operations(point.flopsPerImage)}`,
          }),
          Plot.text(isNarrow ? points.filter(isEnd) : points, {
            x: 'flopsPerImage',
            y: 'top1',
            text: ({ rule, value }) => (rule === 'top' ? `n = ${value}` : percent(value, 0)),
            dy: isBelow ? 14 : -12,
            fill: 'var(--soft)',
          }),
        ];
      }),
    ],
  }));
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
  const legend = weights.map(
    (weight, index) => `<li style="color:${seriesColour(index)}">${escapeHtml(nameOf(weight))}</li>`,
  );
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
  return `<ul class="legend">${legend.join('')}</ul>${chart}`;
}

const seriesColour = (index: number) => `var(--series-${(index % 6) + 1})`;

const lineFrame = (isNarrow: boolean) => ({
  height: isNarrow ? 220 : 260,
  marginLeft: 44,
  marginRight: 56,
  marginTop: 14,
  marginBottom: 40,
});

const xAxisStyle = { tickSize: 0, fill: 'var(--soft)', labelArrow: 'none', labelAnchor: 'center' } as const;

/** Lines across the picture at round percentages. */
const percentAxis = (span: number) => [
  Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 }),
  Plot.axisY({ tickSize: 0, ticks: 5, fill: 'var(--soft)', tickFormat: percentTicks(percent, span, 5) }),
];

/** Whole numbers from the first to the last, at most so many. */
function wholeTicks(first: number, last: number, most: number): readonly number[] {
  const start = Math.ceil(first);
  const step = Math.max(1, Math.ceil((last - start) / most));
  const length = Math.max(0, Math.floor((last - start) / step) + 1);
  return Array.from({ length }, (_, index) => start + index * step);
}
