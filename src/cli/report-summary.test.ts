import { expect, test } from 'vitest';
import { jsonObject } from '../core/json.js';
import { encodeSmallPng } from '../data/png.js';
import type { Report } from '../evaluation/report.js';
import { reportSummary } from './report-summary.js';

const accuracy = (top1: number, top5: number) => ({
  top1,
  top1StandardError: 0.012,
  top5,
  top5StandardError: 0.008,
});
const top1 = (value: number) => ({ top1: value, top1StandardError: 0.01 });
const image = { height: 2, width: 4, channels: 1 as const };
const png = Buffer.from(encodeSmallPng(Uint8Array.of(0, 255, 255, 255, 255, 255, 255, 255), image));

const report: Report = {
  test: {
    examples: 1769,
    generalist: accuracy(0.6131, 0.8512),
    ensemble: accuracy(0.6402, 0.8644),
    difference: accuracy(0.0271, -0.0004),
    relativeGain: 0.0442,
    fixed: 120,
    broken: 72,
  },
  conditional: {
    examples: 1260,
    pairs: 1300,
    generalist: top1(0.641),
    specialists: top1(0.68),
    ensemble: top1(0.687),
    difference: top1(0.046),
  },
  coverage: [
    { specialists: 0, examples: 509, generalistCorrect: 0, ensembleCorrect: 0 },
    {
      specialists: 1,
      examples: 1260,
      generalistCorrect: 808,
      ensembleCorrect: 866,
      relativeChange: 0.0718,
      relativeChangeStandardError: 0.011,
    },
  ],
  likelihood: {
    generalist: { negativeLogLikelihood: 1.5, standardError: 0.02, calibrationError: 0.11 },
    ensemble: { negativeLogLikelihood: 1.2, standardError: 0.02, calibrationError: 0.02 },
  },
  specialists: [],
  dataset: { description: 'Two marks', classes: 500 },
  split: 'test',
  subsets: [],
  fusion: { rule: 'paper', kept: 7, trained: 8 },
  stages: [
    { stage: 'dataset', seconds: 30 },
    { stage: 'generalist', seconds: 90, trainingSeconds: 88, trainingFlops: 1.74e12 },
  ],
  ceiling: { top1: 0.9, standardError: 0.01, examples: 1769 },
  example: {
    row: 14,
    label: { index: 1, class: '侍' },
    image: { ...image, png: `data:image/png;base64,${png.toString('base64')}` },
    differs: true,
    isFixed: true,
    generalist: [
      { index: 0, class: '俗', probability: 0.5 },
      { index: 1, class: '侍', probability: 0.25 },
    ],
    ensemble: [
      { index: 1, class: '侍', probability: 0.75 },
      { index: 0, class: '俗', probability: 0.125 },
    ],
    specialists: [{ id: 2, size: 57, dustbin: 0.0625, top: [{ index: 1, class: '侍', probability: 0.875 }] }],
  },
};
const place = { page: 'kd-workspace/report/index.html', seconds: 6.24, next: 'Next:\n\n  kd-spec show' };
const asMetrics = (value: Report) => jsonObject(value);

test('a report becomes tables, and one image answered by both', () => {
  expect(reportSummary(asMetrics(report), { ...place, status: { dataset: 'up to date' } })).toBe(
    `Two marks.

             test top-1   test top-5  conditional top-1
generalist  61.3% ± 1.2  85.1% ± 0.8        64.1% ± 1.0
ensemble    64.0% ± 1.2  86.4% ± 0.8        68.7% ± 1.0
difference  +2.7% ± 1.2   0.0% ± 0.8        +4.6% ± 1.0
ceiling     90.0% ± 1.0

± one standard error, that of paired differences for the difference; 1,769 images. Conditional: only
the classes of a specialist that covers the true class, 1,300 pairs of image and specialist.
Ceiling: a classifier that knows how the images were made.

Correct predictions, by how many specialists cover the true class:

specialists  images  generalist  ensemble  relative change
          0     509           0         0
          1   1,260         808       866      +7.2% ± 1.1

7 of 8 specialists kept on validation, fused by the rule paper.

stage             time  share    training  computation
dataset           30 s    24%                           up to date
generalist  1 min 30 s    71%  1 min 28 s   1.74 TFLOP
report           6.2 s     5%
all         2 min 06 s

Open kd-workspace/report/index.html for the whole report.

Of 1,769 test images the ensemble fixes 120 that the generalist gets wrong, and breaks 72. The first that it fixes: image 14, truly 侍.

  ▀         generalist            ensemble
         1  俗          50.0%     侍        75.0%  ✓
         2  侍          25.0%  ✓  俗        12.5%

specialist 2, of 57 classes: 侍 87.5%; none of its classes 6.3%

Next:

  kd-spec show`,
  );
});

test('a report without an example, a ceiling or a covered class is short', () => {
  const { example: _, ceiling: __, ...rest } = report;
  const text = reportSummary(asMetrics({ ...rest, coverage: [] }), place);
  expect(text).not.toMatch(/ceiling|cover the true class:|image 14/i);
  expect(text).toContain('ensemble    64.0%');
  expect(text).not.toContain('side by side');
  const parallel = { ...report, stages: [{ stage: 'specialists', seconds: 60, trainingSeconds: 110 }] };
  expect(reportSummary(asMetrics(parallel), place)).toContain('summed over processes');
});

test('metrics that are no report are listed', () => {
  expect(reportSummary({ classes: 7 }, place)).toBe('classes  7');
});

test('an ensemble that is no better is said to be, with what helps', () => {
  const { test: figures, fusion } = report;
  const worse = { ...report, test: { ...figures, difference: accuracy(-0.01, 0) } };
  expect(reportSummary(asMetrics(worse), place)).toContain('no better than its generalist');
  const none = { ...worse, fusion: { ...fusion, kept: 0 } };
  expect(reportSummary(asMetrics(none), place)).toContain('kept no specialist');
  expect(reportSummary(asMetrics(report), place)).not.toMatch(/no better|kept no specialist/);
});
