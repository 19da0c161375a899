import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { percent } from '../../../src/core/percent.js';
import { percentTicks, spanOf, xAxisStyle } from '../../../src/evaluation/chart-frame.js';
import { meanOf } from '../format.js';
import { chosenPoint, contenderNames, type FrontierResult, pointsOf, runsOf } from './result.js';

const [width, height] = [720, 420];
const margin = { left: 52, right: 230, top: 34, bottom: 44 };
const shownBelow = 0.085; // of top-1, under the best: what is lower stands in the table alone
const lineHeight = 13; // pixels
const colours = ['#4269d0', '#b8860b', '#3ca951', '#a463f2', '#5f9ea0', '#9c6b4e', '#c2548f', '#6b7280'];

/** Test top-1 over the operations of a prediction, a line for the ways in which one contender predicts. */
export function frontierChart(result: FrontierResult): string {
  const names = contenderNames(result);
  const isOurs = (name: string) => name.includes('specialists');
  const others = names.filter((name) => !isOurs(name));
  const colourOf = (name: string) =>
    isOurs(name)
      ? name.includes('wide')
        ? '#7a1010'
        : '#d62728'
      : colours[others.indexOf(name) % colours.length];
  const everything = names.map((name) => ({
    name,
    points: pointsOf(result, name)
      .map((seeds) => ({
        megaflops: meanOf(seeds.map(({ flopsPerImage }) => flopsPerImage)) / 1e6,
        top1: meanOf(seeds.map(({ test }) => test.top1)),
      }))
      .sort((a, b) => a.megaflops - b.megaflops),
    chosen: meanOf(runsOf(result, name).map((one) => chosenPoint(one).test.top1)),
  }));
  const top = Math.max(...everything.flatMap(({ points }) => points.map(({ top1 }) => top1)));
  const domain = [top - shownBelow, top + 0.005] as const;
  const courses = everything
    .map((course) => ({ ...course, points: course.points.filter(({ top1 }) => top1 >= domain[0]) }))
    .filter(({ points, chosen }) => points.length > 0 && chosen >= domain[0]);
  const all = courses.flatMap(({ points }) => points);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({
    document,
    width,
    height,
    marginLeft: margin.left,
    marginRight: margin.right,
    marginTop: margin.top,
    marginBottom: margin.bottom,
    x: { type: 'log', label: 'operations of a prediction, million' },
    y: { label: 'test top-1', domain },
    marks: [
      Plot.gridY({ stroke: '#ddd', strokeOpacity: 1, ticks: 6 }),
      Plot.axisY({
        tickSize: 0,
        ticks: 6,
        tickFormat: percentTicks(percent, spanOf(domain), 6),
      }),
      Plot.axisX({ ...xAxisStyle, fill: '#555', ticks: 6, tickFormat: (value: number) => String(value) }),
      ...courses.map(({ name, points }) =>
        Plot.line(points, {
          x: 'megaflops',
          y: 'top1',
          stroke: colourOf(name),
          strokeWidth: isOurs(name) ? 2.5 : 1.5,
          marker: 'circle',
        }),
      ),
      Plot.text(labelsOf(courses, spanOf(domain)), {
        x: Math.max(...all.map(({ megaflops }) => megaflops)),
        y: 'top1',
        text: 'name',
        dx: 14,
        textAnchor: 'start',
        fill: ({ name }) => colourOf(name),
      }),
    ],
  });
  const picture = svg.tagName.toLowerCase() === 'svg' ? svg : svg.querySelector('svg');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    '<title>Test top-1 over the operations of a prediction, at equal training</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    String(picture?.outerHTML),
    '</svg>\n',
  ].join('\n');
}

/** Names at the height of what validation chooses, from the top; one that would stand on another moves down. */
function labelsOf(courses: readonly { readonly name: string; readonly chosen: number }[], span: number) {
  const line = (lineHeight / (height - margin.top - margin.bottom)) * span;
  let above = Number.POSITIVE_INFINITY;
  return courses
    .toSorted((a, b) => b.chosen - a.chosen)
    .map(({ name, chosen }) => {
      above = Math.min(chosen, above - line);
      return { name, top1: above };
    });
}
