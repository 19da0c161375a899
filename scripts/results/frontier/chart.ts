import * as Plot from '@observablehq/plot';
import { percent } from '../../../src/core/percent.js';
import { percentTicks, spanOf, xAxisStyle } from '../../../src/evaluation/chart-frame.js';
import { meanOf } from '../format.js';
import { drawnPicture, labelHeights, plotDocument, svgFile } from '../svg-file.js';
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
  const line = (lineHeight / (height - margin.top - margin.bottom)) * spanOf(domain);
  const labels = courses.map(({ name, chosen }) => ({ name, height: chosen }));
  const svg = Plot.plot({
    document: plotDocument(),
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
      Plot.text(labelHeights(labels, line), {
        x: Math.max(...all.map(({ megaflops }) => megaflops)),
        y: 'height',
        text: 'name',
        dx: 14,
        textAnchor: 'start',
        fill: ({ name }) => colourOf(name),
      }),
    ],
  });
  const title = 'Test top-1 over the operations of a prediction, at equal training';
  return svgFile(title, [width, height], [drawnPicture(svg)]);
}
