import { expect, test } from 'vitest';
import { describeMetrics, fitWidth } from './summary.js';

test('metrics become aligned lines, records a table', () => {
  const metrics = {
    examples: 12_345,
    test: { generalist: { top1: 0.25, top5: null } },
    names: Array.from({ length: 10 }, (_, index) => `c${index}`),
    coverage: [
      { specialists: 0, examples: 350_037, accuracy: { change: 0 } },
      { specialists: 10, examples: 9082, accuracy: { change: 0.14159265 } },
    ],
    tiny: 1e-9,
    done: true,
  };
  expect(describeMetrics(metrics).split('\n')).toEqual([
    'examples              12,345',
    'test.generalist.top1  0.25',
    'test.generalist.top5',
    'names                 c0, c1, c2, c3, c4, c5, c6, c7, … (10 in all)',
    'tiny                  1.00e-9',
    'done                  yes',
    'coverage',
    '  specialists  examples  accuracy.change',
    '            0   350,037                0',
    '           10     9,082           0.1416',
  ]);
});

test('no metrics are nothing', () => {
  expect(describeMetrics({})).toBe('');
});

test('a text is cut between characters', () => {
  expect(fitWidth('abcdef', 6)).toBe('abcdef');
  expect(fitWidth('abcdefg', 6)).toBe('abcde…');
  expect(fitWidth('伏伐伙', 5)).toBe('伏伐…');
  expect(fitWidth('伏伐伙', 4)).toBe('伏…');
});
