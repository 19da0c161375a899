import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import { createDegrade } from '../../src/data/degradation.js';
import { type Design, readDesigns } from '../../src/data/han/designs.js';
import { createGlyphRenderer } from '../../src/data/han/glyph-renderer.js';
import { encodePng } from '../../src/data/image-codec.js';

/** Designs that no training sees: for validation, and for the test. */
export const unseenDesigns = {
  val: ['dela-gothic-one', 'ma-shan-zheng', 'shippori-antique', 'yomogi'],
  test: ['hina-mincho', 'yuji-syuku', 'zcool-xiaowei', 'zen-kurenaido'],
} as const;

export const trainingDesigns = [
  'chocolate-classical-sans',
  'dotgothic16',
  'kosugi-maru',
  'potta-one',
  'reggae-one',
  'rocknroll-one',
  'sawarabi-gothic',
  'sawarabi-mincho',
  'stick',
  'yusei-magic',
  'zcool-kuaile',
  'zcool-qingke-huangyou',
  'zen-antique',
] as const;

const han = [0x4e00, 0x9fff] as const;

/**
 * Writes characters as pictures, degraded as a bad scan is: FOLDER/<character>/<design>-<copy>.png. What a design does
 * not have is left out.
 *
 * @returns the number of pictures
 */
export async function writeGlyphs(
  folder: string,
  characters: readonly string[],
  designNames: readonly string[],
  {
    size,
    copies = 1,
    strength = 1,
  }: { readonly size: number; readonly copies?: number; readonly strength?: number },
): Promise<number> {
  const shape = { height: size, width: size, channels: 1 } as const;
  const renderer = createGlyphRenderer(size);
  const degrade = createDegrade(shape, strength);
  const degraded = new Float32Array(size * size);
  const designs = await readDesigns(
    designNames.map((name) => `@fontsource/${name}`),
    han,
    process.cwd(),
  );
  let written = 0;
  for (const design of designs) {
    const glyph = (codePoint: number) => ({ path: fileOf(design, codePoint) ?? '', codePoint });
    const sample = Array.from({ length: 64 }, (_, index) => han[0] + index * 97);
    const placement = renderer.place(
      sample.filter((codePoint) => fileOf(design, codePoint) !== undefined).map(glyph),
    );
    for (const character of characters) {
      const codePoint = character.codePointAt(0) ?? 0;
      if (fileOf(design, codePoint) === undefined) continue;
      const pixels = renderer.draw(glyph(codePoint), placement).map((ink) => 255 - ink); // black on white
      await mkdir(join(folder, character), { recursive: true });
      for (let copy = 0; copy < copies; copy++) {
        degrade(pixels, createRandom('glyphs', design.name, codePoint, copy), degraded, 0);
        const png = await encodePng(
          Uint8Array.from(degraded, (value) => Math.round(255 * value)),
          shape,
        );
        await writeFile(join(folder, character, `${design.name}-${copy}.png`), png);
        written++;
      }
    }
  }
  return written;
}

/** The font file that has the character, if any. */
function fileOf({ files, fileOf: table }: Design, codePoint: number): string | undefined {
  const place = table[codePoint - han[0]];
  return place === 0 ? undefined : files[place - 1];
}
