import { expect, test } from 'vitest';
import type { RivalResult, RivalsReport } from '../evaluation/rivals/compare-rivals.js';
import type { RivalFigures } from '../evaluation/rivals/verdict.js';
import { patchSummary } from './patch-summary.js';

const figures = (top1: number, harm: number): RivalFigures => ({
  settings: {},
  top1,
  gain: top1 - 0.2,
  standardError: 0.1,
  harm: { harm, standardError: 0.5 },
});
const rival = (name: string, best: RivalFigures, bounded: RivalFigures | null): RivalResult => ({
  name,
  what: name,
  flops: 1,
  parameters: 1,
  trainingSeconds: 0,
  trainingFlops: 0,
  best,
  bounded,
  frontier: [],
});
const rivals: RivalsReport = {
  classes: 24,
  classesWithImages: 21,
  features: 8,
  trainingRows: 84,
  test: { examples: 21, top1: 0.2, standardError: 0.1 },
  bystanders: { description: 'two', fit: 11, test: 2, top1: 0.5 },
  bound: 0.005,
  rivals: [
    rival('generalist', figures(0.2, 0), null),
    rival('refitted', figures(0.48, 0), null),
    rival('hidden', figures(0.5, 0), figures(0.43, 0)),
    rival('adapter', figures(0.5, 0), figures(0.49, 0.5)),
    rival('ensemble', figures(0.24, 0), figures(0.24, 0)),
  ],
  verdict: {
    better: null,
    difference: 0.19,
    standardError: 0.11,
    text: 'The best of them, hidden, is no better.',
  },
};
const written: Parameters<typeof patchSummary>[0] = {
  measured: {
    test: { examples: 21, before: 0.2, after: 0.24, standardError: 0.1 },
    bystanders: { examples: 2, before: 0.5, after: 0.5, standardError: 0 },
    classes: 21,
    withoutImages: 3,
  },
  compared: { images: 21, maxDifference: 1e-6 },
  added: 2,
  earlier: [],
  bound: 0.005,
  calibratedFor: 0.005,
  rivals,
  file: '/here/out.onnx',
  bytes: 1000,
  report: '/here/report/index.html',
};
const lineOf = (text: string, name: string) => text.split('\n').find((line) => line.startsWith(name));

test('rivals that may not count as better are marked, so that the best of the others is the one in the sentence', () => {
  const text = patchSummary(written, '/here');
  expect(lineOf(text, 'refitted')).toMatch(/48.0% +50.0% +beyond the bound$/);
  expect(lineOf(text, 'adapter')).toMatch(/49.0% +0.0% +beyond the bound$/);
  expect(lineOf(text, 'hidden')).toMatch(/43.0% +50.0%\s*$/);
  expect(text).toMatch(/^beyond the bound: .* at most 0.5%/m);
  const without = { ...rivals, rivals: rivals.rivals.filter(({ name }) => name === 'hidden') };
  expect(patchSummary({ ...written, rivals: without }, '/here')).not.toMatch(/beyond/);
});

test('where nothing measures harm no rival is marked', () => {
  const { bystanders: _, ...measured } = written.measured;
  const unmeasured = { ...rivals, bystanders: null, bound: null };
  const text = patchSummary(
    { ...written, measured: { ...measured, bystanders: undefined }, rivals: unmeasured },
    '/here',
  );
  expect(lineOf(text, 'refitted')).toMatch(/48.0%$/);
});

test('the change of two bystanders has the error of one changed prediction, as nobody knows that none changes', () => {
  expect(lineOf(patchSummary(written, '/here'), 'bystanders')).toMatch(/0.0% ± 50.0/);
});
