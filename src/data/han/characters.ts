import { KdSpecError } from '../../core/errors.js';
import type { Design } from './designs.js';
import type { GlyphRenderer, Placement } from './glyph-renderer.js';

/** The characters that became classes, and which designs can draw them. */
export interface Characters {
  /** The code point of each class, ascending. */
  readonly codePoints: Uint32Array; // (classes)
  /** `usable[label * designs + design]` is 1 where the design draws the class properly. */
  readonly usable: Uint8Array; // (classes, designs)
  /** How each design is placed in the image. */
  readonly placements: readonly Placement[]; // (designs)
  /** How many glyphs that some cmap has were dropped: blank, or the same picture as another character's. */
  readonly dropped: number;
}

/** How many characters of each design are looked at beside the classes: they show placement and placeholders. */
const sampleSize = 64;

/**
 * Chooses the classes: the first characters, in code-point order, that enough designs draw properly.
 *
 * Unicode orders Han characters by radical and then by the number of other strokes, so neighbours share
 * their radical and often differ in one stroke; a random choice from the whole block would mostly pick
 * characters that nobody confuses. The choice does not depend on a seed: fewer classes are a prefix of
 * more classes, and runs with different seeds can be compared.
 *
 * A design draws a character properly when its cmap has it and its picture is neither blank nor the same,
 * pixel for pixel, as the one of another character looked at: the way fonts show a character that they
 * claim to have and do not. Glyphs are drawn until there are enough classes, not for the whole range.
 *
 * @param designs all designs; the first `trainingDesigns` of them are for training
 * @param firstCodePoint where `fileOf` of each design begins
 * @param options `classes`: how many are wanted; `minimumDesigns`: how many designs must draw a class, at
 *   least one of them a training design
 * @throws KdSpecError `font-unusable` when there are fewer such characters, saying how many there are
 */
export function chooseCharacters(
  designs: readonly Design[],
  firstCodePoint: number,
  renderer: GlyphRenderer,
  options: { readonly classes: number; readonly minimumDesigns: number; readonly trainingDesigns: number },
): Characters {
  const { classes, minimumDesigns, trainingDesigns } = options;
  const range = designs[0].fileOf.length;
  const enough = (has: (design: number) => boolean) => {
    let count = 0;
    let training = 0;
    for (let design = 0; design < designs.length; design++) {
      if (!has(design)) continue;
      count++;
      if (design < trainingDesigns) training++;
    }
    return count >= minimumDesigns && training > 0;
  };

  const inspectors = designs.map((design) => createInspector(design, firstCodePoint, renderer));
  const looked: number[] = [];
  let chosen: number[] = [];
  for (let at = 0; at < range && chosen.length < classes; ) {
    const batch: number[] = [];
    for (; at < range && batch.length < classes - chosen.length; at++) {
      if (enough((design) => designs[design].fileOf[at] !== 0)) batch.push(at);
    }
    for (const inspector of inspectors) inspector.look(batch);
    looked.push(...batch);
    // A later character may show an earlier one to be a placeholder, so all are judged again.
    chosen = looked.filter((seen) => enough((design) => inspectors[design].proper(seen)));
  }
  if (chosen.length < classes) {
    throw new KdSpecError(
      'font-unusable',
      `expected ${classes} characters that at least ${minimumDesigns} of the ${designs.length} designs draw, one ` +
        `of them for training, but there are ${chosen.length}: ask for at most ${chosen.length} classes, for ` +
        `fewer designs a character, or give more fonts`,
    );
  }
  const labels = chosen.slice(0, classes);
  return {
    codePoints: Uint32Array.from(labels, (at) => firstCodePoint + at),
    usable: Uint8Array.from({ length: classes * designs.length }, (_, cell) => {
      const at = labels[Math.floor(cell / designs.length)];
      return inspectors[cell % designs.length].proper(at) ? 1 : 0;
    }),
    placements: inspectors.map((inspector) => inspector.placement),
    dropped: labels.reduce(
      (sum, at) =>
        sum + designs.filter(({ fileOf }, d) => fileOf[at] !== 0 && !inspectors[d].proper(at)).length,
      0,
    ),
  };
}

/** Draws characters of one design and remembers which pictures it has seen. */
function createInspector(design: Design, firstCodePoint: number, renderer: GlyphRenderer) {
  const glyph = (at: number) => ({
    path: design.files[design.fileOf[at] - 1],
    codePoint: firstCodePoint + at,
  });
  const covered = [...design.fileOf.keys()].filter((at) => design.fileOf[at] !== 0);
  const step = Math.max(1, covered.length / sampleSize);
  const sample = Array.from(
    { length: Math.min(sampleSize, covered.length) },
    (_, index) => covered[Math.floor(index * step)],
  );
  const placement = renderer.place(sample.map(glyph));
  const pictures = new Map<number, number>(); // hash of each character looked at
  const owners = new Map<number, number>(); // number of characters with a hash

  /** Draws file by file: to go to and fro between fonts makes the canvas set each of them up again. */
  function look(batch: readonly number[]): void {
    const unseen = batch.filter((at) => design.fileOf[at] !== 0 && !pictures.has(at));
    for (const at of unseen.sort((a, b) => design.fileOf[a] - design.fileOf[b])) {
      const pixels = renderer.draw(glyph(at), placement);
      const picture = isBlank(pixels) ? blank : hash(pixels);
      pictures.set(at, picture);
      owners.set(picture, (owners.get(picture) ?? 0) + 1);
    }
  }

  function proper(at: number): boolean {
    const picture = pictures.get(at);
    return picture !== undefined && picture !== blank && owners.get(picture) === 1;
  }

  look(sample);
  return { placement, look, proper };
}

/** Stands for every picture without ink; no hash is negative. */
const blank = -1;

/** Whether no pixel is even half inked, as of a glyph without outlines or of a speck. */
function isBlank(pixels: Uint8Array): boolean {
  for (const ink of pixels) if (ink > 127) return false;
  return true;
}

/** 53 bits from two 32-bit FNV-1a hashes that start differently. */
function hash(pixels: Uint8Array): number {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  for (const ink of pixels) {
    low = Math.imul(low ^ ink, 0x01000193);
    high = Math.imul(high ^ ink, 0x01000193);
  }
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0);
}
