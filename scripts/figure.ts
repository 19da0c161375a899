/**
 * Draws the README's picture, one image predicted by generalist, specialist and ensemble, from a report:
 *
 *     npm run figure kd-workspace/report/report.json docs/images/answers.svg
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { percent } from '../src/core/percent.js';
import { count } from '../src/core/quantity-text.js';
import type { ReportExample } from '../src/evaluation/report-example.js';
import { reportSchema } from '../src/evaluation/report-schema.js';

const pictureSize = 168;
const panel = { left: 216, width: 196, gap: 36, top: 54, rowHeight: 34 };
const shownClasses = 5;

/** Colours by name, light and dark: the picture stands on pages of either kind. */
const style = `<style>
  svg { --ink: #1c2126; --soft: #5b6570; --track: #e9ecef; --bar: #8b95a1; --true: #1f7a5c; --dustbin: #b9c0c8; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e9ec; --soft: #9aa5b1; --track: #2a323a; --bar: #7d8894; --true: #4fbf97; --dustbin: #56616c; }
  }
  image { image-rendering: pixelated; }
</style>`;

/** The picture as SVG that needs nothing else. */
function drawPredictions(example: ReportExample, classes: number): string {
  const [specialist] = example.specialists;
  const dustbin = { index: -1, class: 'none of these', probability: specialist.dustbin };
  const panels = [
    { title: 'Generalist', size: classes, ranked: example.generalist.slice(0, shownClasses) },
    {
      title: `Specialist ${specialist.id}`,
      size: specialist.size,
      ranked: [...specialist.top.slice(0, shownClasses), dustbin],
    },
    { title: 'Ensemble', size: classes, ranked: example.ensemble.slice(0, shownClasses) },
  ];
  const bars = panels.flatMap(({ title, ranked }) =>
    ranked.map(({ index, class: name, probability }, row) => ({ title, row, index, name, probability })),
  );
  type Bar = (typeof bars)[number];
  const textColour = ({ index }: Bar) => (index === example.label.index ? 'var(--ink)' : 'var(--soft)');
  const barColour = ({ index }: Bar) =>
    index === example.label.index ? 'var(--true)' : index < 0 ? 'var(--dustbin)' : 'var(--bar)';
  const width = panel.left + panels.length * (panel.width + panel.gap) - panel.gap;
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const line = { fx: 'title', y: 'row', strokeWidth: 5, strokeLinecap: 'round' } as const;
  const name = { fx: 'title', y: 'row', text: 'name', x: 0, textAnchor: 'start', dy: -12 } as const;
  const picture = { facet: 'super', frameAnchor: 'top-left', dx: -panel.left } as const;
  const svg = Plot.plot({
    document,
    width,
    height: panel.top + (shownClasses + 1) * panel.rowHeight,
    marginLeft: panel.left,
    marginRight: 0,
    marginTop: panel.top - 18,
    marginBottom: 0,
    style: { fontSize: '15px', fontFamily: "system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif" },
    fx: { domain: panels.map(({ title }) => title), padding: 0.16, paddingOuter: 0, axis: null },
    x: { domain: [0, 1], axis: null, inset: 3 },
    y: { domain: [0, shownClasses + 0.6], axis: null, reverse: true, insetTop: 24 },
    marks: [
      Plot.ruleY(bars, { ...line, x1: 0, x2: 1, stroke: 'var(--track)' }),
      Plot.ruleY(bars, { ...line, x1: 0, x2: 'probability', stroke: barColour }),
      Plot.text(bars, { ...name, dx: -3, lineWidth: 9, textOverflow: 'ellipsis', fill: textColour }),
      Plot.text(bars, {
        ...name,
        text: ({ probability }) => percent(probability),
        x: 1,
        dx: 3,
        textAnchor: 'end',
        fill: textColour,
        fontVariant: 'tabular-nums',
      }),
      Plot.text(panels, {
        fx: 'title',
        text: 'title',
        frameAnchor: 'top-left',
        dy: -32,
        fill: 'var(--ink)',
        fontSize: 17,
        fontWeight: 650,
      }),
      Plot.text(panels, {
        fx: 'title',
        text: ({ size }) => `${count(size)} classes`,
        frameAnchor: 'top-right',
        dy: -31,
        fill: 'var(--soft)',
      }),
      Plot.image([example], {
        ...picture,
        src: ({ image }) => image.png,
        width: pictureSize,
        height: pictureSize,
        dx: pictureSize / 2 - panel.left,
        dy: pictureSize / 2,
      }),
      Plot.text([example], {
        ...picture,
        text: ({ label }) => `truly ${label.class}`,
        dy: pictureSize + 14,
        fill: 'var(--ink)',
        fontWeight: 600,
      }),
    ],
  });
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  svg.setAttribute('role', 'img');
  svg.setAttribute(
    'aria-label',
    `An image of ${example.label.class}, as predicted by generalist, specialist and ensemble`,
  );
  return `${String(svg.outerHTML).replace(/^<svg[^>]*>/, (start) => `${start}${style}`)}\n`;
}

const [source, target] = process.argv.slice(2);
if (source === undefined || target === undefined) throw new Error('usage: figure REPORT.json PICTURE.svg');
const { example, dataset } = reportSchema.parse(JSON.parse(readFileSync(source, 'utf8')));
if (example === undefined) throw new Error(`${source} has no example: no specialist was active`);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, drawPredictions(example, dataset.classes));
