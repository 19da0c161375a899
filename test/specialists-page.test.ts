import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Contender, type Result, renderPage } from '../scripts/results/specialists/page.js';

const folder = 'docs/results/specialists';

test('the page of the comparison says what the JSON beside it says', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  expect(files.length).toBeGreaterThan(0);
  const order = ['jft-like-3k', 'han-3k', 'jft-like-15k', 'han-15k'];
  const results = files
    .map((name): Result => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')))
    .toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  expect(readFileSync('docs/results/specialists.md', 'utf8')).toBe(renderPage(results));
});

test('where specialists do not win, the page says so first', () => {
  const [file] = readdirSync(folder);
  const result: Result = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
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
  expect(renderPage([against(best + 0.01)]).split('\n')[2]).toBe(
    `Where specialists do not win: ${result.name}; the sections say by how much.`,
  );
  const unbeaten = {
    ...comparison.contenders,
    longer: rival(0),
    wider: rival(0),
    thinner: rival(0),
    two: rival(0),
    three: rival(0),
  };
  expect(renderPage([{ ...result, comparisons: [{ ...comparison, contenders: unbeaten }] }])).not.toContain(
    'do not win',
  );
});
