/**
 * Drawings of `@iconify/json` as a data set: which drawings show the same thing, which sets belong to one family, which
 * family is for what, and the pictures.
 *
 * A class is a name that at least six families draw, without words of style (`home-outline`, `round-home` and `home` are
 * one) and whatever the order of its words. A family is all sets of one author, of one prefix, of one lineage, or that
 * share ten drawings: they look alike, so that they stay on one side of each division. Sets under GPL, NC and SA licences are left
 * out, and flags, animations, and any picture that another drawing has shown already.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { createRandom } from '../../../src/core/random.js';
import { type IconSet, iconSets, svgOf } from '../icon-sets.js';

export const imageSize = 32;
export const fewestFamilies = 6; // that draw a class
const mostDrawings = 2; // of one class by one family
const sharedDrawings = 10; // that make two sets one family
/** Sets that were drawn after one another, which neither author nor prefix tells. */
const lineages = [
  ['ic', 'material-symbols', 'mdi', 'line-md', 'zmdi'],
  ['fa', 'la'],
  ['heroicons', 'sidekickicons'],
];

/** `model`: what the classifier learned from; `own`: what its user has; `test`: families that neither saw. */
export type Part = 'model' | 'own' | 'test';

export interface Drawing {
  readonly name: string; // of its class
  readonly set: string;
  readonly icon: string;
  readonly family: string;
}

export interface Picture extends Drawing {
  readonly part: Part;
  readonly file: string;
}

/** What `drawings.json` holds. */
export interface Drawings {
  readonly classes: readonly string[];
  readonly families: Readonly<Record<Part, readonly string[]>>;
  readonly pictures: readonly Picture[];
}

const styles = new Set(
  (
    '12 14 15 16 20 24 28 32 36 40 48 64 alt baseline bold broken bulk color colored dual duo duotone fill filled flat ' +
    'glyph i icon large light line linear lined lg md medium micro mini o outline outlined regular round rounded sharp ' +
    'sm small solid stroke thin tone two twotone variant'
  ).split(' '),
);
const leadingStyles = new Set(
  'baseline bold filled i icon linear outline outlined round rounded sharp solid thin twotone'.split(' '),
);

/** The name of what an icon shows: without words of style at its ends, the others in alphabetic order. */
export function subjectOf(icon: string): string {
  const words = icon.toLowerCase().split('-');
  while (words.length > 1 && styles.has(words[words.length - 1])) words.pop();
  while (words.length > 1 && leadingStyles.has(words[0])) words.shift();
  const hasOrder = words.some((word) => word.length < 2); // sort-a-z is not sort-z-a
  return (hasOrder ? words : words.sort()).join('-');
}

/** The family of each set: of those with the same author, prefix, or some of the same drawings. */
function familiesOf(sets: ReadonlyMap<string, IconSet>) {
  const parents = new Map<string, string>();
  const rootOf = (node: string): string => {
    const parent = parents.get(node) ?? node;
    return parent === node ? node : rootOf(parent);
  };
  const join = (one: string, other: string) => parents.set(rootOf(one), rootOf(other));
  const setsOf = new Map<string, Set<string>>(); // by body
  for (const [set, { icons, info }] of sets) {
    const author = info.author.name.toLowerCase().replace(/ inc\b.*|[^a-z]/g, '');
    join(set, `prefix ${set.split('-')[0]}`);
    join(set, `author ${author}`);
    for (const { body } of Object.values(icons)) setsOf.set(body, (setsOf.get(body) ?? new Set()).add(set));
  }
  for (const [first, ...others] of lineages) for (const other of others) join(first, other);
  const shared = new Map<string, number>();
  for (const owners of setsOf.values())
    for (const one of owners)
      for (const other of owners) {
        if (one >= other) continue;
        const pair = `${one} ${other}`;
        const drawings = (shared.get(pair) ?? 0) + 1;
        shared.set(pair, drawings);
        if (drawings === sharedDrawings) join(one, other);
      }
  const named = new Map<string, string>(); // a family is called after its first set
  return new Map(
    [...sets.keys()].map((set) => {
      const root = rootOf(set);
      if (!named.has(root)) named.set(root, set);
      return [set, named.get(root) ?? set];
    }),
  );
}

/** All drawings of names that enough families draw, a few by each. */
function chooseDrawings(sets: ReadonlyMap<string, IconSet>): readonly Drawing[] {
  const families = familiesOf(sets);
  const byName = new Map<string, Map<string, Drawing[]>>();
  for (const [set, { icons }] of sets)
    for (const [icon, { body, hidden }] of Object.entries(icons)) {
      if (hidden || /<(animate|set)\b/i.test(body)) continue;
      const [name, family] = [subjectOf(icon), families.get(set) ?? set];
      const drawn = byName.get(name) ?? new Map<string, Drawing[]>();
      byName.set(name, drawn.set(family, [...(drawn.get(family) ?? []), { name, set, icon, family }]));
    }
  return [...byName.entries()]
    .filter(([, drawn]) => drawn.size >= fewestFamilies)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([name, drawn]) =>
      [...drawn].flatMap(([family, drawings]) =>
        createRandom('drawings', name, family).shuffle(drawings).slice(0, mostDrawings),
      ),
    );
}

/** Deals families out: of every ten of about the same size, four to the model, four to its user, two to the test. */
function dealFamilies(drawings: readonly Drawing[]): Drawings['families'] {
  const sizes = new Map<string, number>();
  for (const { family } of drawings) sizes.set(family, (sizes.get(family) ?? 0) + 1);
  const bySize = [...sizes].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1));
  const dealt: Record<Part, string[]> = { model: [], own: [], test: [] };
  for (let first = 0; first < bySize.length; first += 10) {
    const shares: Part[] = ['model', 'model', 'model', 'model', 'own', 'own', 'own', 'own', 'test', 'test'];
    createRandom('families', first).shuffle(shares);
    for (const [index, [family]] of bySize.slice(first, first + 10).entries())
      dealt[shares[index]].push(family);
  }
  return dealt;
}

/** A drawing in black on white, or in its colours: (size, size, RGB). */
async function render(set: IconSet, icon: string): Promise<Buffer> {
  const svg = Buffer.from(svgOf(set, icon, imageSize));
  return sharp(svg).flatten({ background: '#fff' }).toColourspace('srgb').raw().toBuffer();
}

/** Draws everything into `folder`, unless it is there: `images/*.png`, `drawings.json`, and `model-*` for Python. */
export async function makeDrawings(iconify: string, folder: string): Promise<Drawings> {
  const index = join(folder, 'drawings.json');
  if (existsSync(index)) return JSON.parse(readFileSync(index, 'utf8'));
  const listed = new Set(Object.keys(JSON.parse(readFileSync(join(iconify, 'collections.json'), 'utf8')))); // not withdrawn
  const found: IconSet[] = [];
  for await (const set of iconSets(iconify))
    if (listed.has(set.prefix) && set.info.category !== 'Flags / Maps') found.push(set);
  found.sort((one, other) => (one.prefix < other.prefix ? -1 : 1));
  const sets = new Map(found.map((set) => [set.prefix, set]));
  const drawings = chooseDrawings(sets);
  const families = dealFamilies(drawings);
  mkdirSync(join(folder, 'images'), { recursive: true });
  const seen = new Set<string>();
  const raw = { width: imageSize, height: imageSize, channels: 3 } as const;
  const drawn: { readonly picture: Picture; readonly pixels: Buffer }[] = [];
  for (const part of ['model', 'own', 'test'] as const) {
    const members = new Set(families[part]);
    for (const drawing of drawings) {
      if (!members.has(drawing.family)) continue;
      const set = sets.get(drawing.set);
      if (!set) throw new Error(`expected the set ${drawing.set}`);
      const pixels = await render(set, drawing.icon);
      const digest = createHash('sha256').update(pixels).digest('hex');
      if (seen.has(digest) || pixels.every((value) => value === pixels[0])) continue;
      seen.add(digest);
      const file = `${drawing.set}-${drawing.icon}.png`;
      drawn.push({ picture: { ...drawing, part, file }, pixels });
      if (part !== 'model')
        await sharp(pixels, { raw })
          .png()
          .toFile(join(folder, 'images', file));
    }
  }
  const inPart = (part: Part) =>
    new Set(drawn.filter(({ picture }) => picture.part === part).map(({ picture }) => picture.name));
  const [learned, own] = [inPart('model'), inPart('own')];
  const classes = [...learned].filter((name) => own.has(name)).sort();
  const labelOf = new Map(classes.map((name, label) => [name, label]));
  const kept = drawn.filter(({ picture }) => labelOf.has(picture.name));
  const forModel = kept.filter(({ picture }) => picture.part === 'model');
  writeFileSync(join(folder, 'model-images.u8'), Buffer.concat(forModel.map(({ pixels }) => pixels)));
  const labels = forModel.map(({ picture }) => labelOf.get(picture.name));
  writeFileSync(join(folder, 'model-labels.json'), JSON.stringify({ classes, size: imageSize, labels }));
  const result: Drawings = { classes, families, pictures: kept.map(({ picture }) => picture) };
  writeFileSync(`${index}.part`, JSON.stringify(result));
  renameSync(`${index}.part`, index);
  return result;
}
