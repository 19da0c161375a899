import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createEvaluation } from './evaluation.js';
import type { Report } from './report.js';
import { signedPercent } from './report-chart.js';
import { renderReportPage } from './report-page.js';

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
    subsets: [
      { id: 0, classes: ['<b>', '"two"', '三'] },
      { id: 1, classes: ['三', 'four'] },
    ],
    fusion: { rule: 'paper', kept: 2, trained: 3 },
    stages: [
      { stage: 'generalist', seconds: 125 },
      { stage: 'specialists', seconds: 59.96 },
    ],
    ceiling: { top1: 0.9, standardError: 0.01, examples: 100 },
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
  expect(text).toContain('2 min 5 s');
  expect(document.querySelectorAll('svg')).toHaveLength(2);
  expect(document.querySelectorAll('svg circle')).toHaveLength(2);
  expect(document.querySelectorAll('svg rect')).toHaveLength(report.coverage.length);
  expect([...document.querySelectorAll('.classes li')].map((item) => item.textContent)).toEqual([
    '<b>',
    '"two"',
    '三',
    '三',
    'four',
  ]);
  expect(html).not.toMatch(/<script|https?:|src=|@import|url\(|NaN|undefined|Infinity/);
  expect(text).toContain('Marks & <signs>');
});

test('a report without specialists and without examples is a page too', () => {
  const empty: Report = { ...exampleReport(), ...createEvaluation([]).result(), subsets: [], stages: [] };
  expect(renderReportPage(empty)).not.toMatch(/NaN|undefined|Infinity/);
});

test('signs', () => {
  expect([0.0342, -0.0342, 0, -0.0001].map((value) => signedPercent(value))).toEqual([
    '+3.4%',
    '−3.4%',
    '0.0%',
    '0.0%',
  ]);
});
