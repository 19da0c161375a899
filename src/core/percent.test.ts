import { expect, test } from 'vitest';
import { percent, percentWithin, shortPercent, signedPercent, signedWithin } from './percent.js';

test('fractions are shown as per cent', () => {
  expect([percent(0.4306), percent(1), percent(0.12345, 2)]).toEqual(['43.1%', '100.0%', '12.35%']);
  expect([0.005, 0.00125, 0.04, 1, 0.00503].map(shortPercent)).toEqual([
    '0.5%',
    '0.125%',
    '4%',
    '100%',
    '0.503%',
  ]);
  expect(percentWithin(0.4306, 0.0042)).toBe('43.1% ± 0.4');
});

test('differences have a sign unless they are shown as nothing', () => {
  expect([0.0342, -0.0342, 0, -0.0001].map((value) => signedPercent(value))).toEqual([
    '+3.4%',
    '−3.4%',
    '0.0%',
    '0.0%',
  ]);
  expect(signedWithin(-0.0281, 0.0034)).toBe('−2.8% ± 0.3');
});
