import { expect, test } from 'vitest';
import { displayWidth, fitWidth } from './display-width.js';

test.each([
  ['', 0],
  ['abc', 3],
  ['伏 U+4F0F', 9],
  ['カｶ한', 5], // the second is a half-width form
  ['𠀀', 2], // beyond the basic plane
  ['e\u0301', 1], // a combining accent
  ['Ａ。', 4],
  ['🐈', 2],
  ['61.3% ± 1.2 −', 13],
])('%s takes %i columns', (text, columns) => {
  expect(displayWidth(text)).toBe(columns);
});

test('a text is cut between characters', () => {
  expect(fitWidth('abcdef', 6)).toBe('abcdef');
  expect(fitWidth('abcdefg', 6)).toBe('abcde…');
  expect(fitWidth('伏伐伙', 5)).toBe('伏伐…');
  expect(fitWidth('伏伐伙', 4)).toBe('伏…');
});
