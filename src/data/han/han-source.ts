import { KdSpecError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';
import { createRandom } from '../../core/random.js';
import { createDegrade } from '../degradation.js';
import { type Importer, withoutNull } from '../importers/importer.js';
import {
  type DatasetSource,
  type ImageShape,
  type LabelledImage,
  type SplitName,
  sidesOf,
} from '../source.js';
import { type Characters, chooseCharacters } from './characters.js';
import { type Design, type FontEntry, readDesigns } from './designs.js';
import { createGlyphRenderer } from './glyph-renderer.js';

/** What {@link hanSource} makes. */
export interface HanOptions {
  /** Number of characters. */
  readonly classes: number;
  /** Side of the square images, in pixels; 8 to 256. */
  readonly imageSize: number;
  /** npm packages of the `@fontsource` kind, font files, folders of font files; a nested list is one design. */
  readonly fonts: readonly FontEntry[];
  /** How many designs must draw a character that becomes a class. */
  readonly minimumDesigns: number;
  /** First and last code point that may become a class; 4E00 to 9FFF (CJK Unified Ideographs) by default. */
  readonly codePoints?: readonly [number, number];
  /** The last designs of the list are for test, those before them for validation, all others for training. */
  readonly validationDesigns: number;
  readonly testDesigns: number;
  /** Degraded copies of each glyph in validation; the test set has one. */
  readonly copies?: number;
  /** Strength of the degradation; 0 is none, 1 the default. */
  readonly strength?: number;
  /** Decides the order of the images and how each is degraded; not the classes, nor the split. */
  readonly seed: number;
  /** Where relative paths of fonts start, and the search for packages; the working folder by default. */
  readonly folder?: string;
  readonly log?: Log;
}

/**
 * Pictures of Han characters in many designs, split by design.
 *
 * The classes are the first characters in code-point order that enough designs draw (`chooseCharacters`
 * says why). Training images are clean glyphs, degraded afresh whenever they are drawn
 * (`augmentation.kind` is `degrade`); validation and test images are degraded once, each by a stream of
 * random numbers named by (seed, design, character, copy). Black on white. A class that a validation or
 * test design does not have has no image there; every class has at least one in training.
 *
 * @returns a source with names such as `字 U+5B57`; its images are rendered when they are asked for
 * @throws KdSpecError `option-invalid` when a number is out of range; `font-unusable` when a font is missing
 *   or broken, or when the fonts cannot fill the classes
 *
 * Cost: 0.2 to 0.4 milliseconds a glyph to look at it, as much to write it, and 0.1 to 0.2 seconds a family to
 * read its tables. Memory: the fonts that are drawn from, 10 to 40 MB a family; images are never kept.
 */
export async function hanSource(options: HanOptions): Promise<DatasetSource> {
  const { classes, imageSize, fonts, minimumDesigns, validationDesigns, testDesigns, seed } = options;
  const { codePoints = [0x4e00, 0x9fff], copies = 1, strength = 1 } = options;
  const { folder = process.cwd(), log = silentLog } = options;
  check('classes', classes, 2, 0x11_0000);
  check('imageSize', imageSize, 8, 256);
  check('minimumDesigns', minimumDesigns, 1, Number.MAX_SAFE_INTEGER);
  check('codePoints[0]', codePoints[0], 0, 0x10_ffff);
  check('codePoints[1]', codePoints[1], codePoints[0], 0x10_ffff);
  check('validationDesigns', validationDesigns, 1, Number.MAX_SAFE_INTEGER);
  check('testDesigns', testDesigns, 1, Number.MAX_SAFE_INTEGER);
  check('copies', copies, 1, 1000);
  if (!(strength >= 0 && strength <= 10)) throw outOfRange('strength', strength, 'a number from 0 to 10');

  const designs = await readDesigns(fonts, codePoints, folder);
  const trainingDesigns = designs.length - validationDesigns - testDesigns;
  if (trainingDesigns < 1) {
    throw new KdSpecError(
      'font-unusable',
      `expected at least ${validationDesigns + testDesigns + 1} designs (${validationDesigns} for validation, ` +
        `${testDesigns} for test, one or more for training), but the font list has ${designs.length}: ` +
        `${designs.map((design) => design.name).join(', ')}. Give more fonts; the weights of a family are one design`,
    );
  }
  const renderer = createGlyphRenderer(imageSize);
  const characters = chooseCharacters(designs, codePoints[0], renderer, {
    classes,
    minimumDesigns,
    trainingDesigns,
  });
  const parts: Record<SplitName, Int32Array> = {
    train: cellsOf(characters, designs.length, 0, trainingDesigns, 1),
    validation: cellsOf(
      characters,
      designs.length,
      trainingDesigns,
      trainingDesigns + validationDesigns,
      copies,
    ),
    test: cellsOf(characters, designs.length, trainingDesigns + validationDesigns, designs.length, 1),
  };
  report(log, designs, trainingDesigns, validationDesigns, characters, parts);

  const image: ImageShape = { height: imageSize, width: imageSize, channels: 1 };
  const degrade = createDegrade(image, strength);
  const degraded = new Float32Array(imageSize * imageSize);

  async function* images(split: SplitName): AsyncGenerator<LabelledImage> {
    const cells = createRandom(seed, 'han', 'order', split).shuffle(parts[split].slice());
    for (const cell of cells) {
      const copy = Math.floor(cell / characters.usable.length);
      const label = Math.floor((cell % characters.usable.length) / designs.length);
      const at = cell % designs.length;
      const codePoint = characters.codePoints[label];
      const { name, files, fileOf } = designs[at];
      const path = files[fileOf[codePoint - codePoints[0]] - 1];
      const ink = renderer.draw({ path, codePoint }, characters.placements[at]); // (size, size)
      const pixels = ink.map((value) => 255 - value); // black on white, as scans are
      if (split !== 'train') {
        degrade(pixels, createRandom(seed, 'han', 'degrade', name, codePoint, copy), degraded, 0);
        for (let pixel = 0; pixel < pixels.length; pixel++) pixels[pixel] = Math.round(255 * degraded[pixel]);
      }
      yield { pixels, label };
    }
  }

  return {
    description:
      `${classes} Han characters in ${designs.length} designs, ${imageSize} x ${imageSize} grey, ` +
      `degraded at strength ${strength}, validated and tested on designs that training does not see`,
    classes: Array.from(characters.codePoints, nameOf),
    image,
    augmentation: { kind: 'degrade', strength },
    count: (split) => parts[split].length,
    images,
  };
}

/** The character and its code point, for a person and for a program: `字 U+5B57`. */
function nameOf(codePoint: number): string {
  return `${String.fromCodePoint(codePoint)} U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** Every usable (copy, class, design) of the designs from `first` up to `end`, as one number each. */
function cellsOf(
  { usable }: Characters,
  designs: number,
  first: number,
  end: number,
  copies: number,
): Int32Array {
  const cells: number[] = [];
  for (let copy = 0; copy < copies; copy++) {
    for (let cell = 0; cell < usable.length; cell++) {
      const design = cell % designs;
      if (usable[cell] === 1 && design >= first && design < end) cells.push(copy * usable.length + cell);
    }
  }
  return Int32Array.from(cells);
}

/** Says which designs are where, and what a person should know of the classes. */
function report(
  log: Log,
  designs: readonly Design[],
  trainingDesigns: number,
  validationDesigns: number,
  { codePoints, usable, dropped }: Characters,
  parts: Readonly<Record<SplitName, Int32Array>>,
): void {
  const names = (first: number, end?: number) =>
    designs
      .slice(first, end)
      .map((design) => design.name)
      .join(', ');
  const testFrom = trainingDesigns + validationDesigns;
  const missing = codePoints.filter(
    (_, label) =>
      !usable.subarray(label * designs.length + testFrom, (label + 1) * designs.length).includes(1),
  );
  log.info(
    `${codePoints.length} characters, ${nameOf(codePoints[0])} to ${nameOf(codePoints[codePoints.length - 1])}: ` +
      `${parts.train.length} training glyphs in ${trainingDesigns} designs; ` +
      `validation designs ${names(trainingDesigns, testFrom)}; test designs ${names(testFrom)}`,
  );
  if (dropped > 0) log.info(`${dropped} glyphs left out: blank, or the picture of another character`);
  if (missing.length > 0) log.warn(`${missing.length} of the classes are in none of the test designs`);
}

function check(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw outOfRange(name, value, `a whole number from ${least} to ${most}`);
  }
}

function outOfRange(name: string, value: number, expected: string): KdSpecError {
  return new KdSpecError(
    'option-invalid',
    `expected ${name} of the Han data set to be ${expected}, but got ${value}`,
  );
}

/** `--source han`. */
export const han: Importer = {
  recognises: async (source) => source === 'han',
  open: (_, options) => {
    const { seed, log, codePoints, copies, strength } = options;
    return hanSource({
      classes: required(options.classes, 'classes'),
      imageSize: sidesOf(required(options.imageSize, 'image-size')).height,
      fonts: required(options.fonts, 'fonts'),
      minimumDesigns: required(options.minimumDesigns, 'minimum-designs'),
      validationDesigns: required(options.validationDesigns, 'validation-designs'),
      testDesigns: required(options.testDesigns, 'test-designs'),
      seed,
      log,
      ...withoutNull({ codePoints, copies, strength }),
    });
  },
};

function required<Value>(value: Value | null, flag: string): Value {
  if (value !== null) return value;
  throw new KdSpecError('option-invalid', `the han data set needs a value for --${flag}`);
}
