import { percent } from '../core/percent.js';
import { operations } from '../core/quantity-text.js';
import { ticksAround } from './chart-ticks.js';
import { type LinePoint, lineChart } from './line-chart.js';

/** A rule of routing with its accuracy on validation. */
export interface ReportRouting {
  readonly rule: 'top' | 'mass';
  /** n of the first n classes, or the least mass on a subset. */
  readonly value: number;
  /** Specialists asked, mean over the images. */
  readonly active: number;
  readonly flopsPerImage: number;
  readonly top1: number;
}

/** Whom a rule calls, in words. */
export const ruleText = ({ rule, value }: ReportRouting) =>
  rule === 'top'
    ? `first ${value === 1 ? 'class' : `${value} classes`}`
    : `mass of ${percent(value, 0)} or more`;

/** The least height of the picture, so that differences which are noise look small. */
const leastSpan = 0.02;

/**
 * Accuracy over computation: a line through the rules of n classes, whose first point is the paper's, and one through
 * those of a least mass, as inline SVG; empty unless a line has two points.
 */
export function routingCurve(routing: readonly ReportRouting[], description: string): string {
  const lineOf = (wanted: ReportRouting['rule']) =>
    routing
      .filter(({ rule }) => rule === wanted)
      .toSorted((a, b) => a.flopsPerImage - b.flopsPerImage)
      .map((point) => ({
        x: point.flopsPerImage,
        y: point.top1,
        title: `${ruleText(point)}: ${percent(point.top1)} for ${operations(point.flopsPerImage)}`,
        label: point.rule === 'top' ? `n = ${point.value}` : percent(point.value, 0),
      }));
  const [top, mass] = [lineOf('top'), lineOf('mass')];
  if (Math.max(top.length, mass.length) < 2) return '';
  const tops = routing.map(({ top1 }) => top1);
  const costs = routing.map(({ flopsPerImage }) => flopsPerImage);
  const middle = (Math.min(...tops) + Math.max(...tops)) / 2;
  const yTicks = ticksAround(
    Math.min(...tops, middle - leastSpan / 2),
    Math.max(...tops, middle + leastSpan / 2),
    4,
  );
  const digits = yTicks[1] - yTicks[0] < 0.0099 ? 1 : 0;
  return lineChart({
    lines: [
      { points: top, labelsBelow: meanTop1(top) < meanTop1(mass) },
      { points: mass, labelsBelow: meanTop1(mass) <= meanTop1(top), dashed: true },
    ].filter(({ points }) => points.length > 0),
    xTicks: ticksAround(Math.min(...costs), Math.max(...costs), 4).map((at) => ({
      at,
      text: operations(at),
    })),
    yTicks: yTicks.map((at) => ({ at, text: percent(at, digits) })),
    description,
  });
}

const meanTop1 = (points: readonly LinePoint[]) =>
  points.reduce((sum, { y }) => sum + y, 0) / Math.max(1, points.length);
