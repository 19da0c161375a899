import { expect, test } from 'vitest';
import { byteSize, duration, operations } from './quantity-text.js';

test.each([
  [0.04, '0.0 s'],
  [7.24, '7.2 s'],
  [59.7, '1 min 00 s'],
  [185, '3 min 05 s'],
  [3599.7, '1 h 00 min'],
  [7199, '2 h 00 min'],
  [7620, '2 h 07 min'],
  [Number.POSITIVE_INFINITY, '?'],
])('%d seconds are %s', (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

test.each([
  [0, '0 FLOP'],
  [999, '999 FLOP'],
  [271_374_188_544, '271 GFLOP'],
  [999_700_000, '1 GFLOP'],
  [2.5e18, '2500 PFLOP'],
])('%d operations are %s', (flops, text) => {
  expect(operations(flops)).toBe(text);
});

test('sizes are in decimal units', () => {
  expect([576_504, 7_882_184].map(byteSize)).toEqual(['577 kB', '7.88 MB']);
});
