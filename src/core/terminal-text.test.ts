import fc from 'fast-check';
import { expect, test } from 'vitest';
import { terminalText } from './terminal-text.js';

test('what a terminal would obey is written out, and all else stays', () => {
  expect(terminalText('\u001b[2J\u001b]0;title\u0007')).toBe('\\u001b[2J\\u001b]0;title\\u0007');
  expect(terminalText('a\u009b31mb\rc')).toBe('a\\u009b31mb\\u000dc');
  expect(terminalText('cat\u202egod')).toBe('cat\\u202egod');
  expect(terminalText('兀\tU+5140\n👩‍🚀 é')).toBe('兀\tU+5140\n👩‍🚀 é');
});

test('colours are kept only where they are ours', () => {
  expect(terminalText('\u001b[31mred\u001b[0m', { keepColours: true })).toBe('\u001b[31mred\u001b[0m');
  expect(terminalText('\u001b[31mred')).toBe('\\u001b[31mred');
  expect(terminalText('\u001b[31H\u001b[6n', { keepColours: true })).toBe('\\u001b[31H\\u001b[6n');
});

test('no text has control characters left, and a safe text is not changed', () => {
  const any = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(any, (text) => {
      const safe = terminalText(text);
      for (const character of safe)
        expect(/[\t\n]/.test(character) || !/\p{Control}/u.test(character)).toBe(true);
      expect(terminalText(safe)).toBe(safe);
    }),
  );
});
