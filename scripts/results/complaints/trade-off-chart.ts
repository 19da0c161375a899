import * as Plot from '@observablehq/plot';
import { percentTicks, spanOf, xAxisStyle } from '../../../src/evaluation/chart-frame.js';
import { signed } from '../format.js';
import { drawnPicture, labelHeights, plotDocument, svgFile } from '../svg-file.js';

/** What something gains and harms, under one bound on harm after the other. */
export interface Course {
  readonly name: string;
  readonly points: readonly { readonly bound: number; readonly gain: number; readonly harm: number }[];
}

const [width, height] = [640, 300];
const margin = { top: 34, bottom: 40 };
const colours = ['#4269d0', '#efb118', '#3ca951', '#a463f2', '#97bbf5', '#9c6b4e', '#ff8ab7', '#9498a0'];

/** Names beside the ends of their courses. */
function labelsOf(courses: readonly Course[]) {
  const line =
    (13 / (height - margin.top - margin.bottom)) *
    spanOf(courses.flatMap(({ points }) => points.map(({ gain }) => gain)));
  const ends = courses.flatMap(({ name, points }) =>
    points.slice(-1).map(({ gain }) => ({ name, height: gain })),
  );
  return labelHeights(ends, line);
}

/** Gain over harm as one SVG file, a panel for each list. The specialists' courses are thick and have their points marked. */
export function tradeOffChart(
  panels: readonly { readonly title: string; readonly courses: readonly Course[] }[],
): string {
  const names = [...new Set(panels.flatMap(({ courses }) => courses.map(({ name }) => name)))];
  const isOurs = (name: string) => name.startsWith('specialists');
  const others = names.filter((name) => !isOurs(name));
  const colourOf = (name: string) =>
    isOurs(name)
      ? name === 'specialists'
        ? '#d62728'
        : '#7a1010'
      : colours[others.indexOf(name) % colours.length];
  const document = plotDocument();
  const drawn = panels.map(({ title, courses }, index) => {
    const all = courses.flatMap(({ name, points }) => points.map((point) => ({ name, ...point })));
    const svg = Plot.plot({
      document,
      width,
      height,
      marginLeft: 56,
      marginRight: 190,
      marginBottom: margin.bottom,
      marginTop: margin.top,
      x: { label: `${title}: harm to bystanders, points of top-1` },
      y: { label: 'gain', nice: true },
      marks: [
        Plot.gridY({ stroke: '#ddd', strokeOpacity: 1, ticks: 5 }),
        Plot.axisY({
          tickSize: 0,
          ticks: 5,
          tickFormat: percentTicks(signed, spanOf(all.map(({ gain }) => gain)), 5),
        }),
        Plot.axisX({
          ...xAxisStyle,
          fill: '#555',
          tickFormat: percentTicks(signed, spanOf(all.map(({ harm }) => harm)), 6),
          ticks: 6,
        }),
        Plot.ruleX([0], { stroke: '#aaa' }),
        ...courses.map(({ name, points }) =>
          Plot.line(points, {
            x: 'harm',
            y: 'gain',
            stroke: colourOf(name),
            strokeWidth: isOurs(name) ? 2.5 : 1.5,
            marker: 'circle',
          }),
        ),
        Plot.text(labelsOf(courses), {
          x: Math.max(...all.map(({ harm }) => harm)),
          y: 'height',
          text: 'name',
          dx: 12,
          textAnchor: 'start',
          fill: ({ name }) => colourOf(name),
        }),
      ],
    });
    return drawnPicture(svg, index * height);
  });
  return svgFile('Gain and harm of specialists and rivals', [width, panels.length * height], drawn);
}
