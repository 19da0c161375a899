import { expect, test } from 'vitest';
import { chooseCharacters } from './characters.js';
import type { Design } from './designs.js';
import type { GlyphRenderer } from './glyph-renderer.js';

/** A font of one file, with these characters. */
function design(name: string, has: readonly number[]): Design {
  const fileOf = new Uint16Array(400);
  for (const at of has) fileOf[at] = 1;
  return { name, files: [name], fileOf };
}

/** Draws the number of each character as its ink, or the number that `pictures` has for it; 0 is blank. */
function renderer(pictures: Record<string, Record<number, number>>): GlyphRenderer {
  return {
    place: () => ({ fontSizePx: 1, xPx: 0, yPx: 0 }),
    draw: ({ path, codePoint }) => {
      const picture = pictures[path]?.[codePoint] ?? codePoint;
      return Uint8Array.of(picture === 0 ? 0 : 255, picture % 256, Math.floor(picture / 256));
    },
  };
}

const range = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, index) => first + index);

test('blank pictures and pictures of several characters do not count', () => {
  const designs = [design('a', range(1, 11)), design('b', range(1, 11)), design('c', range(1, 11))];
  const pictures = {
    a: { 2: 0, 5: 77, 6: 77 }, // 2 is blank; 5 and 6 show the same placeholder
    b: { 5: 99 },
    c: { 5: 99, 7: 99 },
  };
  const { codePoints, usable, dropped } = chooseCharacters(designs, 0, renderer(pictures), {
    classes: 7,
    minimumDesigns: 2,
    trainingDesigns: 1,
  });
  // 2, 5 and 6 have no training design; 7 has a and b, 5 would have b alone.
  expect([...codePoints]).toEqual([1, 3, 4, 7, 8, 9, 10]);
  expect(dropped).toBe(1);
  expect([...usable.slice(9, 12)]).toEqual([1, 1, 0]);
});

test('a character that comes after the last class can show an earlier one to be a placeholder', () => {
  // The sample of 64 that every design is judged by takes in the far end of the font.
  const designs = [design('a', range(1, 301))];
  const shared = { a: Object.fromEntries([3, ...range(200, 301)].map((at) => [at, 9999])) };
  const { codePoints } = chooseCharacters(designs, 0, renderer(shared), {
    classes: 4,
    minimumDesigns: 1,
    trainingDesigns: 1,
  });
  expect([...codePoints]).toEqual([1, 2, 4, 5]);
});

test('a class needs as many designs as are asked for, and one of them for training', () => {
  const designs = [design('a', [1, 2, 3]), design('b', [2, 3, 4]), design('c', [3, 4, 5])];
  const choose = (classes: number, minimumDesigns: number, trainingDesigns: number) => [
    ...chooseCharacters(designs, 0, renderer({}), { classes, minimumDesigns, trainingDesigns }).codePoints,
  ];
  expect(choose(3, 2, 2)).toEqual([2, 3, 4]);
  expect(choose(2, 2, 1)).toEqual([2, 3]);
  expect(choose(1, 3, 1)).toEqual([3]);
  expect(() => choose(2, 3, 1)).toThrow(/expected 2 characters .* there are 1: ask for at most 1 classes/);
});
