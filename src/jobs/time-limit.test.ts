import { expect, test } from 'vitest';
import { parseTimeLimit } from './time-limit.js';

test.each([
  ['90', 5400],
  ['1:30', 90],
  ['4:00:00', 14_400],
  ['2-0', 172_800],
  ['1-2:30', 95_400],
  ['1-2:30:15', 95_415],
  ['soon', undefined],
  ['1:2:3:4', undefined],
  ['0', undefined],
])('%s is %s seconds', (text, seconds) => {
  expect(parseTimeLimit(text)).toBe(seconds);
});
