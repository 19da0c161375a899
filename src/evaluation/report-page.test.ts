import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createEvaluation } from './evaluation.js';
import { createReliability } from './reliability.js';
import type { Report } from './report.js';
import type { ReportDetails } from './report-details.js';
import { renderReportPage } from './report-page.js';
import { reportSchema } from './report-schema.js';

function exampleReport(): Report {
  const specialists = [
    { id: 0, classes: [0, 1, 2] },
    { id: 1, classes: [2, 3] },
  ];
  const random = createRandom(1, 'page');
  const evaluation = createEvaluation(specialists);
  for (let i = 0; i < 300; i++) {
    const label = random.below(6);
    const vector = (pull: number) =>
      Float64Array.from({ length: 6 }, (_, c) => random.uniform() + (c === label ? pull : 0));
    const covering = new Map(evaluation.covering(label).map((m) => [m, Float64Array.of(3, 2, 1, 0)]));
    evaluation.add({ label, generalist: vector(0.3), ensemble: vector(0.6), active: [0], covering });
  }
  return {
    ...evaluation.result(),
    dataset: { description: 'Marks & <signs>', classes: 6 },
    split: 'test',
    subsets: [
      { id: 0, classes: ['<b>', '"two"', '三'] },
      { id: 1, classes: ['三', 'four'] },
    ],
    fusion: {
      rule: 'combine',
      kept: 2,
      trained: 3,
      rules: [
        { rule: 'combine', kept: 2, top1: 0.5321, negativeLogLikelihood: 1.2345, calibrationError: 0.0312 },
        { rule: 'paper', kept: 1, top1: 0.5123, negativeLogLikelihood: 1.3456, calibrationError: 0.0415 },
      ],
    },
    stages: [
      { stage: 'generalist', seconds: 125, trainingSeconds: 120.2, trainingFlops: 2.5e12 },
      { stage: 'specialists', seconds: 59.96 },
    ],
    inference: {
      active: 0.93,
      generalistFlops: 2.5e6,
      ensembleFlops: 2.75e6,
      generalistImagesPerSecond: 4321.4,
      ensembleImagesPerSecond: 3456.7,
      generalistParameters: 400_000,
      specialistParameters: 90_001,
    },
    routing: [
      { rule: 'top', value: 1, active: 0.93, flopsPerImage: 2.75e6, top1: 0.515 },
      { rule: 'top', value: 2, active: 1.6, flopsPerImage: 3e6, top1: 0.52 },
      { rule: 'mass', value: 0.2, active: 1.5, flopsPerImage: 2.9e6, top1: 0.525 },
    ],
    curve: [
      { epoch: 1, loss: 3.5, validationTop1: 0.2125, validationLoss: 3.4 },
      { epoch: 2, loss: 2.5, validationTop1: 0.335, validationLoss: 2.625 },
    ],
    ceiling: { top1: 0.9, standardError: 0.01, examples: 100 },
    example: {
      row: 17,
      label: { index: 1, class: '<true>' },
      image: { height: 1, width: 1, channels: 1, png: 'data:image/png;base64,AAAA' },
      differs: true,
      generalist: [{ index: 0, class: 'zero', probability: 0.625 }],
      ensemble: [{ index: 1, class: '<true>', probability: 0.75 }],
      specialists: [
        { id: 1, size: 2, dustbin: 0.1875, top: [{ index: 1, class: '<true>', probability: 0.8125 }] },
      ],
    },
  };
}

test('a report says whose examples they are', () => {
  const { test: measured, ...rest } = exampleReport();
  const { classes: _, ...old } = measured;
  const note = (one: Report['test']) =>
    /Test: 300 examples[^.]*\./.exec(renderReportPage({ ...rest, test: one }, exampleDetails()))?.[0];
  expect(note(measured)).toBe('Test: 300 examples, of all classes.');
  expect(note({ ...measured, classes: 4 })).toBe(
    'Test: 300 examples, of the 4 classes with examples, predicted among all 6.',
  );
  expect(note(old)).toBe('Test: 300 examples.');
});

function exampleDetails(): ReportDetails {
  const curve = {
    calibrationError: 0.0712,
    bins: [
      { examples: 30, confidence: 0.3, accuracy: 0.2 },
      { examples: 70, confidence: 0.8, accuracy: 0.75 },
    ],
  };
  const reliability = {
    examples: 100,
    asIs: curve,
    fitted: curve,
    temperature: 1.6,
    labelNoise: 0.01,
    fittedNegativeLogLikelihood: 1.2,
  };
  const card = { isCorrectedByImage: false, temperature: 1.25, weight: 0.5, dustbinCorrection: 2.06 };
  return {
    classes: ['<b>', '"two"', '三', 'four', '</script><script>alert(1)</script>', 'six'],
    counts: {
      images: [50, 50, 50, 50, 50, 50],
      generalist: [10, 20, 30, 25, 20, 10],
      ensemble: [15, 25, 28, 25, 30, 20],
    },
    confusions: [
      [0, 1, 12, 5],
      [1, 0, 7, 4],
      [2, 3, 6, 8],
    ],
    unlisted: { generalist: 3, ensemble: 0 },
    selection: 'Validation chose.',
    specialists: [
      { id: 0, classes: [0, 1, 2], kept: true, reason: 'it helps', ...card },
      { id: 1, classes: [2, 3], kept: false, reason: 'it does not', ...card },
    ],
    thumbnails: {
      picture: 'data:image/png;base64,AAAA',
      columns: 2,
      rows: 2,
      width: 4,
      height: 4,
      classes: [0, 1, 2],
    },
    gallery: {
      seed: 5,
      fixed: {
        images: 40,
        shown: [
          {
            row: 17,
            label: { index: 1, class: '<true>' },
            picture: 'data:image/png;base64,BBBB',
            generalist: [{ index: 0, class: 'zero', probability: 0.625 }],
            ensemble: [{ index: 1, class: '<true>', probability: 0.75 }],
            specialists: [
              { id: 1, size: 2, dustbin: 0.1875, top: [{ index: 1, class: '<true>', probability: 0.8125 }] },
            ],
          },
        ],
      },
      broken: { images: 0, shown: [] },
    },
    reliability: { generalist: reliability, ensemble: reliability },
    specialistCurves: [
      {
        id: 0,
        points: [
          { epoch: 1, loss: 2 },
          { epoch: 2, loss: 1 },
        ],
      },
    ],
    provenance: [
      {
        stage: 'generalist',
        kdSpecVersion: '0.1.0',
        seed: 3,
        backend: 'wasm',
        digest: 'ab'.repeat(32),
        finishedAt: '2026-01-02T03:04:05.678Z',
        parameters: { epochs: 12, 'network.dense': [192], patience: null },
      },
    ],
  };
}

test('the page shows the figures of the report, and asks nobody for anything', () => {
  const report = exampleReport();
  const html = renderReportPage(report, exampleDetails());
  const { document } = parseHTML(html);
  const text = document.body.textContent ?? '';
  expect(text).toContain(`${(100 * report.test.ensemble.top1).toFixed(1)}%`);
  expect(text).toContain(`${(100 * report.conditional.ensemble.top1).toFixed(1)}%`);
  expect(text).toContain('90.0% ± 1.0');
  expect(text).toContain('2 min 05 s');
  expect(text).toContain('2.5 TFLOP');
  expect(text).toContain('4,321');
  expect(text).toContain('400,000 + 90,001');
  expect(text).toContain('mass of 20% or more');
  expect(text).toContain('52.5%');
  expect(text).toContain('33.5%');
  expect(text).toContain(report.likelihood.ensemble.negativeLogLikelihood.toFixed(4));
  for (const words of ['combine, in use', '53.2%', '1.2345', '1 of 3', '51.2%', '1.3456', '4.2%'])
    expect(text).toContain(words);
  expect(text).toContain('image 17');
  expect(text).toContain('drawn at random (seed 5)');
  expect(text).toContain('abababababababab');
  expect(text).toContain('2026-01-02 03:04 UTC');
  expect(text).toContain('7.1% with a fitted temperature (1.60)');
  const pictures = [
    'accuracy',
    'coverage',
    'gains',
    'two of reliability',
    'routing',
    'top-1',
    'losses',
    'specialists',
  ];
  for (const layout of ['wide', 'narrow']) {
    const inCharts = (selector: string) => document.querySelectorAll(`svg.chart-${layout}${selector}`).length;
    expect(inCharts('[role=img][aria-label]')).toBe(pictures.length + 1);
    expect(inCharts(' [aria-label=bar] > *')).toBe(report.coverage.length);
  }
  expect(
    [...document.querySelectorAll('.bars li')].map((item) => [item.className, item.textContent]),
  ).toEqual([
    ['other', 'zero62.5%'],
    ['true', '<true>75.0%'],
  ]);
  expect(text).toContain('Specialist 1, 2 classes: <true> 81.3%; none of these 18.8%');
  expect(document.querySelector('img')?.getAttribute('src')).toBe('data:image/png;base64,BBBB');
  expect(text).toContain('Marks & <signs>');
});

test('the page asks nobody for anything, and no name of a class ends its data', () => {
  const html = renderReportPage(exampleReport(), exampleDetails());
  const { document } = parseHTML(html);
  const [json, code, ...more] = [...document.querySelectorAll('script')];
  expect(more).toEqual([]);
  expect(JSON.parse(json.textContent ?? '').classes).toEqual(exampleDetails().classes);
  expect(code.textContent).toContain('pagedList');
  expect(html).toContain("default-src 'none'");
  const shown = html.replace(code.textContent ?? '', '').replace(json.textContent ?? '', '');
  expect(shown).not.toMatch(/https?:|src="(?!data:)|@import|url\(|NaN|undefined|Infinity/);
  const program = (code.textContent ?? '').replace(/\/\*[\s\S]*?\*\//g, ''); // comments name types
  expect(program).not.toMatch(/https?:|fetch\(|XMLHttpRequest|import\(|innerHTML/);
  // Each place that the script fills is there.
  for (const [, id] of (code.textContent ?? '').matchAll(/(?:pagedList|getElementById)\(\s*'([\w-]+)'/g))
    expect(document.getElementById(id), id).not.toBeNull();
});

test('a table of many columns names them beside each figure, for narrow windows', () => {
  const { document } = parseHTML(renderReportPage(exampleReport(), exampleDetails()));
  const rules = [...document.querySelectorAll('#rules .stack td')].map((cell) =>
    cell.getAttribute('data-label'),
  );
  expect(rules.slice(0, 4)).toEqual([
    'specialists kept',
    'top-1',
    'negative log-likelihood, nats',
    'expected calibration error',
  ]);
});

test('a report without specialists and without examples is a page too', () => {
  const { example: _, ...report } = exampleReport();
  const empty: Report = { ...report, ...createEvaluation([]).result(), subsets: [], stages: [] };
  const reliability = createReliability().result();
  const details: ReportDetails = {
    ...exampleDetails(),
    counts: { images: [0, 0], generalist: [0, 0], ensemble: [0, 0] },
    classes: ['a', 'b'],
    confusions: [],
    specialists: [],
    specialistCurves: [],
    provenance: [],
    thumbnails: { picture: '', columns: 1, rows: 1, width: 1, height: 1, classes: [] },
    gallery: { seed: 1, fixed: { images: 0, shown: [] }, broken: { images: 0, shown: [] } },
    reliability: { generalist: reliability, ensemble: reliability },
  };
  const { document } = parseHTML(renderReportPage(empty, details));
  for (const code of document.querySelectorAll('script')) code.remove();
  expect(document.body.innerHTML).not.toMatch(/NaN|undefined|Infinity/);
});

test('the schema takes what a report holds, with or without what is optional, and nothing else', () => {
  const { example: _, ceiling: __, ...report } = exampleReport();
  expect(reportSchema.parse(exampleReport())).toEqual(exampleReport());
  expect(reportSchema.parse(report)).toEqual(report);
  expect(reportSchema.safeParse({ ...report, split: 'exam' }).success).toBe(false);
  expect(reportSchema.safeParse({ ...report, ceiling: undefined }).success).toBe(false);
});
