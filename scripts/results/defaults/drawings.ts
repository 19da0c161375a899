import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { iconSets, svgOf } from '../icon-sets.js';

/** How many images a folder of classes made from drawings has. */
export interface FolderSummary {
  readonly classes: number;
  readonly images: number;
  readonly train?: number;
  readonly validation?: number;
  readonly test?: number;
  readonly sets: readonly string[];
}

interface Drawing {
  readonly family: string;
  readonly set: string;
  readonly name: string;
  readonly svg: string;
}

const pixels = 32;
/** Drawings of a class in each part: a user's folder has about ten images a class. */
const most = { train: 8, validation: 3, test: 3 } as const;
/** Words by which sets name styles of one drawing. */
const styles =
  'outline|outlined|filled|fill|round|rounded|sharp|baseline|twotone|solid|line|linear|duotone|duo|bold|regular|light|thin|broken|alt|off|\\d+';
const stylePrefix = new RegExp(`^(?:(?:${styles})-)+`);
const styleSuffix = new RegExp(`(?:-(?:${styles}))+$`);
const withoutStyle = (name: string) => name.replace(stylePrefix, '').replace(styleSuffix, '');

/** Sets that redraw one another: they stand on one side of a split. */
const families: readonly (readonly [RegExp, string])[] = [
  [/^(ic|material-symbols|mdi|line-md)/, 'material'],
  [/^(fa|la$)/, 'font-awesome'],
  [/^streamline/, 'streamline'],
  [/^pepicons/, 'pepicons'],
  [/^heroicons/, 'heroicons'],
  [/^icon-park/, 'icon-park'],
  [/^(boxicons|bx)/, 'boxicons'],
  [/^(ui[lmst])$/, 'unicons'],
  [/^(feather|lucide)/, 'feather'],
  [/^(ion|famicons)$/, 'ion'],
  [/^(fluent$|fluent-mdl2|fluent-color)/, 'fluent'],
  [/^glyphs/, 'glyphs'],
  [/^(noto)/, 'noto'],
  [/^fluent-emoji/, 'fluent-emoji'],
  [/^emojione/, 'emojione'],
];
const familyOf = (prefix: string) => families.find(([pattern]) => pattern.test(prefix))?.[1] ?? prefix;

/**
 * Icons of many families: the same thing drawn by many hands. The folder is split by family, so that validation and
 * test show hands that training never saw.
 *
 * @param packageFolder the installed package `@iconify/json`
 * @param folder where `train`, `validation` and `test` are made
 * @param leastFamilies families that must draw a thing for it to be a class
 */
export async function iconFolder(
  packageFolder: string,
  folder: string,
  { leastFamilies }: { leastFamilies: number },
): Promise<FolderSummary> {
  const classes = new Map<string, Map<string, Drawing>>(); // class -> family -> drawing
  for await (const set of iconSets(packageFolder)) {
    if (/Logos|Flags|Emoji|Programming/.test(set.info.category ?? '')) continue;
    const family = familyOf(set.prefix);
    for (const [name, { hidden }] of Object.entries(set.icons)) {
      if (hidden) continue;
      const className = withoutStyle(name);
      if (className === '' || /^\d|^[a-z]$/.test(className)) continue;
      const ofClass = classes.get(className) ?? new Map<string, Drawing>();
      classes.set(className, ofClass);
      const known = ofClass.get(family);
      if (known && known.name.length <= name.length) continue;
      ofClass.set(family, { family, set: set.prefix, name, svg: svgOf(set, name, 2 * pixels) });
    }
  }
  const kept = [...classes].filter(([, drawings]) => drawings.size >= leastFamilies);
  const sizes = new Map<string, number>();
  for (const [, drawings] of kept)
    for (const family of drawings.keys()) sizes.set(family, (sizes.get(family) ?? 0) + 1);
  const bySize = [...sizes].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  const parts = ['train', 'train', 'validation', 'train', 'train', 'test'] as const;
  const placeOf = new Map(bySize.map(([family], place) => [family, place]));
  const place = ({ family }: Drawing) => placeOf.get(family) ?? 0;
  const partOf = (drawing: Drawing) => parts[place(drawing) % parts.length];
  const order = ['train', 'validation', 'test'];
  const counts = { train: 0, validation: 0, test: 0 };
  const sets = new Set<string>();
  let usable = 0;
  for (const [className, drawings] of kept) {
    const candidates = [...drawings.values()].sort(
      (a, b) => order.indexOf(partOf(a)) - order.indexOf(partOf(b)) || place(a) - place(b),
    ); // where two hands drew the same, training has it
    const images = await render(candidates);
    if (!images.some(({ drawing }) => partOf(drawing) === 'train')) continue;
    usable++;
    for (const part of ['train', 'validation', 'test'] as const) {
      for (const { drawing, png } of images
        .filter((image) => partOf(image.drawing) === part)
        .slice(0, most[part])) {
        await write(join(folder, part, className), `${drawing.set}-${drawing.name}.png`, png);
        counts[part]++;
        sets.add(drawing.set);
      }
    }
  }
  const images = counts.train + counts.validation + counts.test;
  return { classes: usable, images, ...counts, sets: [...sets].sort() };
}

/**
 * Emoji of a handful of designs, in one folder a class: a folder as users have it, which is split at random.
 *
 * @param leastImages drawings that a class has at least
 */
export async function emojiFolder(
  packageFolder: string,
  folder: string,
  { leastImages }: { leastImages: number },
): Promise<FolderSummary> {
  const classes = new Map<string, Drawing[]>();
  for await (const set of iconSets(packageFolder)) {
    if (set.info.category !== 'Emoji') continue;
    for (const name of Object.keys(set.icons)) {
      if (/skin-tone|^flag|^(regional|keycap)/.test(name)) continue;
      const joined = name.replaceAll('-', '');
      const className = joined === 'train' ? 'railway-train' : joined; // a folder `train` would be a part of the data
      const drawings = classes.get(className) ?? [];
      classes.set(className, drawings);
      drawings.push({
        family: familyOf(set.prefix),
        set: set.prefix,
        name,
        svg: svgOf(set, name, 2 * pixels),
      });
    }
  }
  let images = 0;
  let usable = 0;
  const sets = new Set<string>();
  for (const [className, drawings] of classes) {
    if (drawings.length < leastImages) continue;
    const rendered = await render(drawings);
    if (rendered.length < leastImages) continue;
    usable++;
    for (const { drawing, png } of rendered) {
      await write(join(folder, className), `${drawing.set}-${drawing.name}.png`, png);
      sets.add(drawing.set);
      images++;
    }
  }
  return { classes: usable, images, sets: [...sets].sort() };
}

/** Draws at 32 x 32 in grey on white; blank drawings and those with the pixels of an earlier one are left out. */
async function render(drawings: readonly Drawing[]): Promise<{ drawing: Drawing; png: Buffer }[]> {
  const seen = new Set<string>();
  const kept: { drawing: Drawing; png: Buffer }[] = [];
  const rendered = await Promise.all(
    drawings.map(async (drawing) => {
      const grey = sharp(Buffer.from(drawing.svg))
        .resize(pixels, pixels, { fit: 'contain', background: '#fff' })
        .flatten({ background: '#fff' })
        .greyscale()
        .toColourspace('b-w');
      return { drawing, png: await grey.png().toBuffer(), raw: await grey.raw().toBuffer() };
    }),
  );
  for (const { drawing, png, raw } of rendered) {
    const key = raw.toString('base64');
    if (seen.has(key) || raw.every((value) => value > 250)) continue;
    seen.add(key);
    kept.push({ drawing, png });
  }
  return kept;
}

async function write(folder: string, name: string, bytes: Buffer): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), bytes);
}
