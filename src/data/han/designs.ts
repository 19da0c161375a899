import { readFile } from 'node:fs/promises';
import type { Font } from 'fontkit';
import { KdSpecError } from '../../core/errors.js';
import { type FontFile, findFontFiles, nearestWeight } from './font-files.js';
import { openFont } from './open-font.js';

/** An entry of a font list; the members of a nested list count as one design. */
export type FontEntry = string | readonly string[];

/** One way of drawing characters, with all font files that draw in it. */
export interface Design {
  /** Its families. */
  readonly name: string;
  readonly files: readonly string[];
  /** `fileOf[codePoint - first]` is 1 + the position in `files` of the file that has the character, or 0. */
  readonly fileOf: Uint16Array;
}

/**
 * The designs of a font list, and which characters each of them covers.
 *
 * Files of one family are one design, whatever entries they came from, and so are the members of a nested
 * list: two weights of a family, or two families with the same outlines, never stand on both sides of a
 * split. Of a family's weights the one nearest to regular is drawn. Where several files of a design have a
 * character, the first one draws it.
 *
 * @param fonts npm packages of the `@fontsource` kind, font files, folders of font files; nested: one design
 * @param codePoints the first and the last code point that matter
 * @param folder where relative paths start
 * @returns the designs, in the order of the list (of a folder: of its files' names)
 * @throws KdSpecError `font-unusable` with the `npm install` line to type when packages are missing
 */
export async function readDesigns(
  fonts: readonly FontEntry[],
  codePoints: readonly [number, number],
  folder: string,
): Promise<readonly Design[]> {
  const found = await Promise.all(
    fonts.map(async (entry) => {
      const names = typeof entry === 'string' ? [entry] : entry;
      const lists = await Promise.all(names.map((name) => findFontFiles(name, folder)));
      return { entry, names, lists };
    }),
  );
  const missing = found.flatMap(({ names, lists }) => names.filter((_, at) => lists[at] === undefined));
  if (missing.length > 0) {
    throw new KdSpecError(
      'font-unusable',
      `expected ${missing.length === 1 ? 'a font package' : `${missing.length} font packages`} that ` +
        `${missing.length === 1 ? 'is' : 'are'} not installed: type  npm install ${[...new Set(missing)].join(' ')}`,
    );
  }

  let groups: { families: ReadonlySet<string>; files: readonly FontFile[] }[] = [];
  for (const { entry, lists } of found) {
    const files = lists.flatMap((list) => list ?? []);
    const families = [...new Set(files.map((file) => file.family))];
    // A nested list is one group; otherwise each family that the entry holds is a group of its own.
    for (const part of typeof entry === 'string' ? families.map((family) => [family]) : [families]) {
      const joined = groups.filter((group) => part.some((family) => group.families.has(family)));
      const merged = {
        families: new Set([...joined.flatMap((group) => [...group.families]), ...part]),
        files: [
          ...joined.flatMap((group) => group.files),
          ...files.filter((file) => part.includes(file.family)),
        ],
      };
      // It stands where the first of the groups that it joins stood.
      const at = groups.findIndex((group) => joined.includes(group));
      groups = groups.flatMap((group, index) =>
        index === at ? [merged] : joined.includes(group) ? [] : [group],
      );
      if (at < 0) groups.push(merged);
    }
  }
  const designs: Design[] = [];
  for (const { families, files } of groups) {
    designs.push(await cover([...families].join(' + '), regular(files), codePoints));
  }
  return designs;
}

/** Of each family the files of the weight nearest to regular, without duplicates. */
function regular(files: readonly FontFile[]): readonly FontFile[] {
  const families = new Set(files.map((file) => file.family));
  const chosen = [...families].flatMap((family) => {
    const members = files.filter((file) => file.family === family);
    const weight = nearestWeight(members.map((file) => file.weight));
    return members.filter((file) => file.weight === weight);
  });
  return [...new Map(chosen.map((file) => [file.path, file])).values()];
}

async function cover(
  name: string,
  files: readonly FontFile[],
  [first, last]: readonly [number, number],
): Promise<Design> {
  const relevant = files.filter(
    ({ ranges }) => ranges === undefined || ranges.some(([from, to]) => from <= last && to >= first),
  );
  const fileOf = new Uint16Array(last - first + 1);
  for (const [position, { path }] of relevant.entries()) {
    for (const codePoint of await readCharacters(path)) {
      const at = codePoint - first;
      if (codePoint >= first && codePoint <= last && fileOf[at] === 0) fileOf[at] = position + 1;
    }
  }
  return { name, files: relevant.map((file) => file.path), fileOf };
}

/**
 * The code points that a font's cmap maps to a glyph other than .notdef.
 *
 * A `.woff` beside a `.woff2` is read in its place: it has the same cmap, compressed on its own, so that
 * the rest of the font need not be unpacked (seven times faster over a family of 120 files). Of a few
 * `.woff` files fontkit cannot inflate the cmap; then the `.woff2` is read after all.
 */
async function readCharacters(path: string): Promise<readonly number[]> {
  if (path.endsWith('.woff2')) {
    const sibling = await readFile(path.slice(0, -1)).catch(() => undefined);
    const characters = sibling && mappedCharacters(openFont(sibling, path));
    if (characters !== undefined) return characters;
  }
  const characters = mappedCharacters(openFont(await readFile(path), path));
  if (characters !== undefined) return characters;
  throw new KdSpecError(
    'font-unusable',
    `expected a cmap table, which lists the characters of a font, but ${path} has none that can be read: ` +
      `replace the file, or take it out of the font list`,
  );
}

function mappedCharacters(font: Font): readonly number[] | undefined {
  try {
    return font.characterSet.filter((codePoint) => font.hasGlyphForCodePoint(codePoint));
  } catch {
    return undefined; // fontkit fails with a TypeError where it could not read the table
  }
}
