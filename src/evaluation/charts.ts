import * as Plot from '@observablehq/plot';
import { percent, percentWithin, signedPercent, signedWithin } from '../core/percent.js';
import { operations } from '../core/quantity-text.js';
import type { RoutingPoint } from '../ensemble/routing-curve.js';
import {
  figure,
  lineFrame,
  percentAxis,
  percentTicks,
  spanOf,
  wholeTicks,
  xAxisStyle,
} from './chart-frame.js';
import type { ReliabilityBin } from './reliability.js';

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
  const ends = rows.flatMap(({ value, standardError }) => [value - standardError, value + standardError]);
  const domain = [Math.min(0, ...ends), Math.max(0, ...ends)];
  if (domain[0] === domain[1]) domain[1] = 0.01;
  return rowsChart(rows, description, {
    ...{ rowHeight: 24, narrowMarginLeft: 100, domain, isNice: true },
    tickText: signedPercent,
    text: signedWithin,
    marks: [
      Plot.ruleX([0], { stroke: 'var(--soft)' }),
      ...(mark === 'bar'
        ? [Plot.barX(rows, { x: 'value', y: 'label', fill: colour, title: 'title', rx: 2 }), errorBars(rows)]
        : [
            errorBars(rows),
            Plot.dot(rows, { x: 'value', y: 'label', r: 4.5, fill: colour, title: 'title' }),
          ]),
    ],
  });
}

/** Accuracies of several predictors below one another, with one standard error. */
export function accuracyChart(
  rows: readonly { readonly label: string; readonly value: number; readonly standardError: number }[],
  description: string,
): string {
  const ends = rows.flatMap(({ value, standardError }) => [value - standardError, value + standardError]);
  const room = Math.max(0.01, spanOf(ends) / 6);
  const domain = [Math.max(0, Math.min(...ends) - room), Math.min(1, Math.max(...ends) + room)];
  return rowsChart(rows, description, {
    ...{ rowHeight: 30, narrowMarginLeft: 92, domain, isNice: false },
    tickText: percent,
    text: percentWithin,
    marks: [
      errorBars(rows),
      Plot.dot(rows, {
        x: 'value',
        y: 'label',
        r: 5,
        fill: ({ label }) => (label === 'Ensemble' ? 'var(--gain)' : 'var(--soft)'),
      }),
    ],
  });
}

/** Rows below one another along an axis of fractions: the label on the left, the value as text on the right. */
function rowsChart<Row extends Omit<SignedRow, 'title'>>(
  rows: readonly Row[],
  description: string,
  {
    rowHeight,
    narrowMarginLeft,
    domain,
    isNice,
    tickText,
    text,
    marks,
  }: {
    readonly rowHeight: number;
    readonly narrowMarginLeft: number;
    readonly domain: readonly number[];
    readonly isNice: boolean;
    readonly tickText: typeof percent;
    readonly text: (value: number, standardError: number) => string;
    readonly marks: readonly Plot.Markish[];
  },
): string {
  return figure(description, ({ isNarrow }) => {
    const ticks = isNarrow ? 3 : 7;
    const marginRight = isNarrow ? 92 : 108;
    return {
      height: rows.length * rowHeight + 34,
      marginTop: 2,
      marginBottom: 32,
      marginLeft: isNarrow ? narrowMarginLeft : 112,
      marginRight,
      x: { label: null, domain: [...domain], ...(isNice && { nice: true }) },
      y: { label: null, domain: rows.map(({ label }) => label), padding: 0.4 },
      marks: [
        Plot.gridX({ stroke: 'var(--line)', strokeOpacity: 1, ticks }),
        Plot.axisX({
          tickSize: 0,
          ticks,
          fill: 'var(--soft)',
          tickFormat: percentTicks(tickText, spanOf(domain), ticks),
        }),
        Plot.axisY({ tickSize: 0, fill: 'var(--ink)' }),
        ...marks,
        Plot.text(rows, {
          y: 'label',
          text: ({ value, standardError }) => text(value, standardError),
          frameAnchor: 'right',
          textAnchor: 'end',
          dx: marginRight,
          fill: 'var(--ink)',
          fontVariant: 'tabular-nums',
        }),
      ],
    };
  });
}

/** Many signed values side by side, the largest first, with one standard error. */
export function rankedChart(rows: readonly SignedRow[], description: string): string {
  const points = rows
    .toSorted((a, b) => b.value - a.value)
    .map((row, index) => ({ ...row, rank: index + 1 }));
  const ends = points.flatMap(({ value, standardError }) => [value - standardError, value + standardError]);
  const domain = [Math.min(0, ...ends), Math.max(0, ...ends, 0.01)];
  return figure(description, ({ width, isNarrow }) => ({
    ...lineFrame(isNarrow),
    marginRight: 12,
    x: { label: 'specialists, by rank', domain: [0.5, points.length + 0.5] },
    y: { label: null, nice: true, domain },
    marks: [
      ...percentAxis(spanOf(domain), signedPercent),
      Plot.axisX(wholeTicks(1, points.length, width / 60), xAxisStyle),
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      Plot.ruleX(points, {
        x: 'rank',
        y1: ({ value, standardError }) => value - standardError,
        y2: ({ value, standardError }) => value + standardError,
        stroke: 'var(--ink)',
        strokeOpacity: 0.4,
      }),
      Plot.dot(points, {
        x: 'rank',
        y: 'value',
        r: points.length > 100 ? 2 : 3.5,
        fill: ({ value }) => (value < 0 ? 'var(--loss)' : 'var(--gain)'),
        title: 'title',
      }),
    ],
  }));
}

/**
 * How often predictions are right, by how confident they are; on the diagonal, as often as they say.
 *
 * @param curves the first is drawn as a thin dashed line, the second in full
 */
export function reliabilityChart(
  { asIs, fitted }: { readonly asIs: readonly ReliabilityBin[]; readonly fitted: readonly ReliabilityBin[] },
  description: string,
): string {
  const most = Math.max(1, ...fitted.map(({ examples }) => examples));
  return figure(
    description,
    ({ isNarrow }) => ({
      height: isNarrow ? 330 : 360,
      marginLeft: 44,
      marginRight: 12,
      marginTop: 10,
      marginBottom: 40,
      x: { label: 'confidence', domain: [0, 1] },
      y: { label: null, domain: [0, 1] },
      r: { range: [2, 9], domain: [0, most] },
      marks: [
        ...percentAxis(1),
        Plot.axisX({ ...xAxisStyle, ticks: 5, tickFormat: (value: number) => percent(value, 0) }),
        Plot.line([0, 1], {
          x: (value) => value,
          y: (value) => value,
          stroke: 'var(--line)',
          strokeWidth: 2,
        }),
        Plot.line(asIs, { x: 'confidence', y: 'accuracy', stroke: 'var(--soft)', strokeDasharray: '4 4' }),
        Plot.line(fitted, { x: 'confidence', y: 'accuracy', stroke: 'var(--accent)', strokeWidth: 2 }),
        Plot.dot(fitted, {
          x: 'confidence',
          y: 'accuracy',
          r: 'examples',
          fill: 'var(--accent)',
          title: ({ examples, confidence, accuracy }) =>
            `confidence ${percent(confidence)}, correct ${percent(accuracy)}: ${examples.toLocaleString('en')} images`,
        }),
      ],
    }),
    { wide: 390 },
  );
}

const errorBars = (rows: readonly Pick<SignedRow, 'label' | 'value' | 'standardError'>[]) =>
  Plot.ruleY(rows, {
    x1: ({ value, standardError }) => value - standardError,
    x2: ({ value, standardError }) => value + standardError,
    y: 'label',
    stroke: 'var(--ink)',
    strokeOpacity: 0.55,
    strokeWidth: 1.5,
  });

/** When a rule makes a specialist active, in words. */
export const routingRuleText = ({ rule, value }: RoutingPoint) =>
  rule === 'top'
    ? `first ${value === 1 ? 'class' : `${value} classes`}`
    : `mass of ${percent(value, 0)} or more`;

/** Whether it is the first or the last of a list. */
const isEnd = (_: unknown, index: number, all: readonly unknown[]) => index === 0 || index === all.length - 1;

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
