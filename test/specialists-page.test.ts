import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { frontierMeans } from '../scripts/results/frontier/page.js';
import {
  readFrontier,
  readResults,
  renderBenchmark,
  renderPage,
} from '../scripts/results/specialists/page.js';
import type { Contender, Result } from '../scripts/results/specialists/result.js';
import { renderSummary } from '../scripts/results/specialists/summary.js';

const results = readResults('docs/results');
const frontier = readFrontier('docs/results');

test('the page of the comparison says what the JSON beside it says', () => {
  expect(results.length).toBeGreaterThan(0);
  expect(readFileSync('docs/results/specialists.md', 'utf8')).toBe(renderPage(results, frontier));
});

test.each(results)('and so does the page of $name', (result) => {
  const page = readFileSync(`docs/results/specialists/${result.name}.md`, 'utf8');
  expect(page).toBe(renderBenchmark(result));
});

test('so does the table of the README', () => {
  expect(readFileSync('README.md', 'utf8')).toContain(renderSummary(results));
});

test('README and guide have the figures of the frontier', () => {
  const means = Object.fromEntries(frontierMeans(frontier));
  const figure = (who: string) => `${(100 * means[who]).toFixed(1)}%`;
  const named = [
    'two levels, 55 groups of a wide scout',
    'a wide generalist',
    'the generalist with specialists',
  ];
  for (const path of ['README.md', 'docs/guide.md']) {
    const paragraphs = readFileSync(path, 'utf8').split('\n');
    const found = paragraphs.filter((text) => text.includes('frontier-jft-like-3k.md'));
    expect(found.filter((text) => named.every((who) => text.includes(figure(who))))).toHaveLength(1);
  }
});

test('where specialists do not win, the page says so first', () => {
  const [result] = results;
  const [comparison] = result.comparisons;
  const rival = (top1: number): Contender => ({
    ...comparison.contenders.method,
    top1: { mean: top1, standardError: 0.001 },
  });
  const against = (top1: number): Result => ({
    ...result,
    comparisons: [{ ...comparison, contenders: { ...comparison.contenders, two: rival(top1) } }],
  });
  const best = comparison.contenders.method.top1.mean;
  expect(renderPage([against(best + 0.01)], frontier).split('\n')[2]).toBe(
    `Where specialists do not win: ${result.name}; their pages say by how much.`,
  );
  const unbeaten = {
    ...comparison.contenders,
    longer: rival(0),
    wider: rival(0),
    thinner: rival(0),
    two: rival(0),
    three: rival(0),
  };
  expect(
    renderPage([{ ...result, comparisons: [{ ...comparison, contenders: unbeaten }] }], frontier),
  ).not.toContain('do not win');
});

test('a temperature of rivals is shown when all seeds have it, and never one for our method', () => {
  const [result] = results;
  const heading = '| temperature | NLL | ECE |';
  const fit = { negativeLogLikelihood: 1.25, standardError: 0.01, calibrationError: 0.02, temperature: 1.5 };
  const withTemperature = (seeds: number): Result => ({
    ...result,
    comparisons: result.comparisons.map((comparison, index) => {
      const { generalist, method } = comparison.contenders;
      const { tempered: _, ...plain } = generalist;
      const wider = { ...method, ...(index < seeds && { tempered: fit }) };
      return { ...comparison, contenders: { generalist: plain, method, wider } };
    }),
  });
  expect(renderBenchmark(withTemperature(result.comparisons.length - 1))).not.toContain(heading);
  const page = renderBenchmark(withTemperature(result.comparisons.length));
  expect(page).toContain(heading);
  expect(page).toContain('| a generalist with a wider dense layer | 1.50 | 1.250 | 2.0% |');
  expect(page).toContain('| **with specialists, our method** |  | ');
});
