import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createEvaluation } from './evaluation.js';
import type { Report } from './report.js';
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

test('the page shows the figures of the report, and asks nobody for anything', () => {
  const report = exampleReport();
  const html = renderReportPage(report);
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
  for (const layout of ['wide', 'narrow']) {
    const inCharts = (selector: string) => document.querySelectorAll(`svg.chart-${layout}${selector}`).length;
    expect(inCharts('[role=img][aria-label]')).toBe(4);
    expect(inCharts(' circle')).toBe(2 + 2 + 3);
    expect(inCharts(' [aria-label=bar] > *')).toBe(report.coverage.length);
    expect(inCharts(' [aria-label=line] > path')).toBe(3);
  }
  expect([...document.querySelectorAll('.classes li')].map((item) => item.textContent)).toEqual([
    '<b>',
    '"two"',
    '三',
    '三',
    'four',
  ]);
  expect(
    [...document.querySelectorAll('.bars li')].map((item) => [item.className, item.textContent]),
  ).toEqual([
    ['other', 'zero62.5%'],
    ['true', '<true>81.3%'],
    ['dustbin', 'none of these18.8%'],
    ['true', '<true>75.0%'],
  ]);
  expect(document.querySelector('img')?.getAttribute('src')).toBe('data:image/png;base64,AAAA');
  expect(html).not.toMatch(/<script|https?:|src="(?!data:)|@import|url\(|NaN|undefined|Infinity/);
  expect(text).toContain('Marks & <signs>');
});

test('a report without specialists and without examples is a page too', () => {
  const { example: _, ...report } = exampleReport();
  const empty: Report = { ...report, ...createEvaluation([]).result(), subsets: [], stages: [] };
  expect(renderReportPage(empty)).not.toMatch(/NaN|undefined|Infinity/);
});

test('the schema takes what a report holds, with or without what is optional, and nothing else', () => {
  const { example: _, ceiling: __, ...report } = exampleReport();
  expect(reportSchema.parse(exampleReport())).toEqual(exampleReport());
  expect(reportSchema.parse(report)).toEqual(report);
  expect(reportSchema.safeParse({ ...report, split: 'exam' }).success).toBe(false);
  expect(reportSchema.safeParse({ ...report, ceiling: undefined }).success).toBe(false);
});
