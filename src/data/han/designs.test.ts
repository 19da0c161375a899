import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readDesigns } from './designs.js';
import { openFont } from './open-font.js';

const han = [0x4e00, 0x9fff] as const;
const fileOf = (id: string, part: number, extension = 'woff2') =>
  join('node_modules', '@fontsource', id, 'files', `${id}-${part}-400-normal.${extension}`);

test('entries of one family are one design, and the members of a nested list too', async () => {
  const designs = await readDesigns(
    [
      fileOf('stick', 100),
      '@fontsource/yomogi',
      fileOf('stick', 101),
      fileOf('yomogi', 100),
      ['@fontsource/dotgothic16', '@fontsource/zcool-kuaile'],
    ],
    [0x4e00, 0x4e40],
    process.cwd(),
  );
  expect(designs.map((design) => design.name)).toEqual(['Stick', 'Yomogi', 'DotGothic16 + ZCOOL KuaiLe']);
  expect(designs[0].files).toHaveLength(2);
});

test('families that a nested list joins are joined wherever else they are named', async () => {
  const [stick, dotgothic] = [fileOf('stick', 100), fileOf('dotgothic16', 100)];
  const designs = await readDesigns([stick, dotgothic, [stick, dotgothic]], han, process.cwd());
  expect(designs.map((design) => design.files.length)).toEqual([2]);
});

// fontkit cannot inflate the cmap of the second one's .woff; the oracle reads the .woff2.
test.each([
  ['stick', 100],
  ['liu-jian-mao-cao', 117],
])('the characters of %s, part %i, are those of its cmap', async (id, part) => {
  const path = fileOf(id, part);
  const [design] = await readDesigns([path], han, process.cwd());
  const font = openFont(await readFile(path), path);
  for (let codePoint = han[0]; codePoint <= han[1]; codePoint++) {
    expect(design.fileOf[codePoint - han[0]] === 1).toBe(font.hasGlyphForCodePoint(codePoint));
  }
  expect(design.fileOf.includes(1)).toBe(true);
});
