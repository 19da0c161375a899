/**
 * Draws the README's picture: the first test image that the generalist gets wrong and the ensemble right, with the
 * predictions of both and of the specialist that was queried.
 *
 *     npm run quickstart && npm run figure   # or: npm run figure WORKSPACE PICTURE.svg
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { percent } from '../src/core/percent.js';
import { count } from '../src/core/quantity-text.js';
import { loadNetworkEnsemble } from '../src/ensemble/ensemble.js';
import { type Example, examples, openDataset, type RankedClass } from '../src/index.js';

const pictureSize = 168;
const panel = { left: 216, width: 196, gap: 36, top: 54, rowHeight: 34 };
const shownClasses = 5;
const imagesAtOnce = 128;

/** What the picture shows. */
interface Pictured {
  readonly label: { readonly index: number; readonly class: string };
  readonly png: Uint8Array;
  readonly generalist: readonly RankedClass[];
  readonly ensemble: readonly RankedClass[];
  readonly specialist: {
    readonly id: number;
    readonly size: number;
    readonly dustbin: number;
    readonly top: readonly RankedClass[];
  };
}

/** The first image of the test split, in the written order, that the generalist gets wrong and the ensemble right. */
async function firstCorrected(workspace: string): Promise<{ found: Pictured; row: number; classes: number }> {
  const dataset = await openDataset(join(workspace, 'dataset'));
  const ensemble = await loadNetworkEnsemble(workspace);
  try {
    let batch: Example[] = [];
    const corrected = async () => {
      const predictions = await ensemble.classify(batch.map(({ bytes }) => bytes));
      const position = predictions.findIndex(
        ({ generalist, ensemble: fused }, image) =>
          fused[0].index === batch[image].label && generalist[0].index !== batch[image].label,
      );
      if (position < 0) return undefined;
      const { label, bytes, row } = batch[position];
      const { generalist, ensemble: fused, specialists } = predictions[position];
      const [{ id, dustbin, top }] = specialists; // without one the two could not differ
      const size = ensemble.specialists.find(({ config }) => config.id === id)?.config.classes.length ?? 0;
      const found: Pictured = {
        label: { index: label, class: dataset.classes[label] },
        png: bytes,
        generalist,
        ensemble: fused,
        specialist: { id, size, dustbin, top },
      };
      return { found, row, classes: dataset.classes.length };
    };
    for await (const { bytes, ...example } of examples(dataset.splits.test)) {
      batch.push({ ...example, bytes: bytes.slice() });
      if (batch.length < imagesAtOnce) continue;
      const result = await corrected();
      if (result) return result;
      batch = [];
    }
    const result = batch.length > 0 ? await corrected() : undefined;
    if (result) return result;
    throw new Error(`${workspace}: the ensemble corrects no test image of the generalist`);
  } finally {
    ensemble.dispose();
  }
}

/** Colours by name, light and dark: the picture stands on pages of either kind. */
const style = `<style>
  svg { --ink: #1c2126; --soft: #5b6570; --track: #e9ecef; --bar: #8b95a1; --true: #1f7a5c; --dustbin: #b9c0c8; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e9ec; --soft: #9aa5b1; --track: #2a323a; --bar: #7d8894; --true: #4fbf97; --dustbin: #56616c; }
  }
  image { image-rendering: pixelated; }
</style>`;

/** The picture as SVG that needs nothing else. */
function drawPredictions(example: Pictured, classes: number): string {
  const { specialist } = example;
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
        dy: -30,
        fill: 'var(--soft)',
        fontSize: 13,
      }),
      Plot.image([example], {
        ...picture,
        src: ({ png }) => `data:image/png;base64,${Buffer.from(png).toString('base64')}`,
        width: pictureSize,
        height: pictureSize,
        dx: pictureSize / 2 - panel.left,
        dy: pictureSize / 2,
      }),
      Plot.text([example], {
        ...picture,
        text: ({ label }) => `true class ${label.class}`,
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

const [workspace = 'kd-workspace', target = 'docs/images/answers.svg'] = process.argv.slice(2);
const { found, row, classes } = await firstCorrected(workspace);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, drawPredictions(found, classes));
console.log(`test image ${row}, truly ${found.label.class}`);
