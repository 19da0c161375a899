/**
 * Draws the README's picture, one image answered by generalist, specialist and ensemble, from a report:
 *
 *     npm run figure kd-workspace/report/report.json docs/images/answers.svg
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { percent } from '../src/core/percent.js';
import { count } from '../src/core/quantity-text.js';
import { escapeHtml } from '../src/evaluation/html.js';
import type { ReportExample } from '../src/evaluation/report-example.js';
import { reportSchema } from '../src/evaluation/report-schema.js';

const pictureSize = 168;
const panel = { left: 216, width: 196, gap: 36, top: 54, rowHeight: 34 };
const shownClasses = 5;

interface Bar {
  readonly name: string;
  readonly probability: number;
  readonly kind: 'true' | 'other' | 'dustbin';
}

/** The picture as SVG that needs nothing else, in light and dark. */
function drawAnswers(example: ReportExample, classes: number): string {
  const [specialist] = example.specialists;
  const bars = (ranked: ReportExample['generalist']): Bar[] =>
    ranked.slice(0, shownClasses).map(({ index, class: name, probability }) => ({
      name,
      probability,
      kind: index === example.label.index ? 'true' : 'other',
    }));
  const panels = [
    { title: 'Generalist', note: `${count(classes)} classes`, bars: bars(example.generalist) },
    {
      title: `Specialist ${specialist.id}`,
      note: `${count(specialist.size)} classes`,
      bars: [
        ...bars(specialist.top),
        { name: 'none of these', probability: specialist.dustbin, kind: 'dustbin' as const },
      ],
    },
    { title: 'Ensemble', note: `${count(classes)} classes`, bars: bars(example.ensemble) },
  ];
  const width = panel.left + panels.length * (panel.width + panel.gap) - panel.gap;
  const height = panel.top + (shownClasses + 1) * panel.rowHeight;
  const label = `An image of ${example.label.class}, as answered by generalist, specialist and ensemble`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeHtml(label)}">
<style>
  text { font: 15px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', sans-serif; fill: #5b6570; }
  .title { font-weight: 650; font-size: 17px; fill: #1c2126; }
  .true { font-weight: 600; fill: #1c2126; }
  .dustbin { font-style: italic; }
  .value { text-anchor: end; font-variant-numeric: tabular-nums; }
  .track { fill: #e9ecef; } .bar { fill: #8b95a1; } .bar.true { fill: #1f7a5c; } .bar.dustbin { fill: #b9c0c8; }
  image { image-rendering: pixelated; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9aa5b1; } .title, .true { fill: #e6e9ec; }
    .track { fill: #2a323a; } .bar { fill: #7d8894; } .bar.true { fill: #4fbf97; } .bar.dustbin { fill: #56616c; }
  }
</style>
<image href="${example.image.png}" x="0" y="${panel.top - 18}" width="${pictureSize}" height="${pictureSize}" preserveAspectRatio="xMidYMid meet"/>
<text x="0" y="${panel.top + pictureSize + 8}">truly <tspan class="true">${escapeHtml(example.label.class)}</tspan></text>
${panels.map(({ title, note, bars: rows }, position) => drawPanel(panel.left + position * (panel.width + panel.gap), title, note, rows)).join('\n')}
</svg>
`;
}

function drawPanel(x: number, title: string, note: string, bars: readonly Bar[]): string {
  const right = x + panel.width;
  const rows = bars.map(({ name, probability, kind }, row) => {
    const y = panel.top + row * panel.rowHeight;
    return (
      `<text class="${kind}" x="${x}" y="${y}">${escapeHtml(name)}</text>` +
      `<text class="value ${kind}" x="${right}" y="${y}">${percent(probability)}</text>` +
      `<rect class="track" x="${x}" y="${y + 6}" width="${panel.width}" height="5" rx="2.5"/>` +
      `<rect class="bar ${kind}" x="${x}" y="${y + 6}" width="${Math.max(1, panel.width * probability).toFixed(1)}" height="5" rx="2.5"/>`
    );
  });
  return (
    `<g><text class="title" x="${x}" y="18">${escapeHtml(title)}</text>` +
    `<text class="value" x="${right}" y="18">${escapeHtml(note)}</text>${rows.join('')}</g>`
  );
}

const [source, target] = process.argv.slice(2);
if (source === undefined || target === undefined) throw new Error('usage: figure REPORT.json PICTURE.svg');
const { example, dataset } = reportSchema.parse(JSON.parse(readFileSync(source, 'utf8')));
if (example === undefined) throw new Error(`${source} has no example: no specialist was asked`);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, drawAnswers(example, dataset.classes));
