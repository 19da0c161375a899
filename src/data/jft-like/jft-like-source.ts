import { KdSpecError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';
import { createRandom } from '../../core/random.js';
import { type Importer, withoutNull } from '../importers/importer.js';
import { type DatasetSource, type LabelledImage, type SplitName, sidesOf } from '../source.js';
import { apportion } from './apportion.js';
import { bayesCeiling } from './bayes-classifier.js';
import { classFrequencies } from './class-frequencies.js';
import { classNames, classTree } from './class-tree.js';
import { type Difficulty, defaultDifficulty } from './difficulty.js';
import { drawImage, type Generator } from './image-generator.js';
import { classTemplates } from './templates.js';

export interface JftLikeOptions {
  /** Number of classes, 2 or more. */
  readonly classes?: number;
  /** Mean number of training images a class, above 0; frequent classes have more, rare ones fewer. */
  readonly imagesPerClass?: number;
  /** Mean number of validation images a class. */
  readonly validationPerClass?: number;
  /** Mean number of test images a class. */
  readonly testPerClass?: number;
  /** Height and width in pixels, 4 or more. */
  readonly imageSize?: number;
  /** Probability that a label names another class, in [0, 1). */
  readonly labelNoise?: number;
  /** Whole; another seed is another data set with other classes. */
  readonly seed?: number;
  readonly difficulty?: Difficulty;
  readonly log?: Log;
}

/** First index of each split's images: a split can grow for ever without showing an image of another. */
const firstIndex = { train: 0, validation: 0x2000_0000, test: 0x4000_0000 } as const satisfies Record<
  SplitName,
  number
>;
const ceilingImages = 1000;

/**
 * A synthetic data set with what made JFT hard: a tree of classes whose siblings differ little, families of
 * very different sizes, a long tail of class frequencies, and wrong labels.
 *
 * Image i of a class depends on (seed, number of classes, class, i) alone and is the same byte for byte on every
 * machine; a larger split begins with the images of a smaller one, in another order. Counts are exact:
 * each split holds `round(classes * mean)` images, divided by the true frequencies of the classes.
 *
 * Cost: 15,000 classes of 16 × 16 take 19 MB and about a second; an image takes about 15 µs.
 *
 * @returns the source; its `ceiling` is the top-1 accuracy of the classifier that knows the generator, measured
 *   on the first 1,000 test images with their annotated labels
 * @throws KdSpecError `option-invalid` when an option is outside its range
 * Source: the setting of Hinton, Vinyals and Dean (2015), section 5.1; the generator is ours.
 *
 * @example
 * const source = await jftLikeSource({ classes: 300, seed: 1 });
 * source.count('train'); // 12000
 */
export async function jftLikeSource({
  classes = 15_000,
  imagesPerClass = 40,
  validationPerClass = 4,
  testPerClass = 4,
  imageSize = 16,
  labelNoise = 0.1,
  seed = 1,
  difficulty = defaultDifficulty,
  log = silentLog,
}: JftLikeOptions = {}): Promise<DatasetSource> {
  expectNumber('classes', classes, 'a whole number from 2', Number.isInteger(classes) && classes >= 2);
  expectNumber(
    'imageSize',
    imageSize,
    'a whole number of pixels from 4',
    Number.isInteger(imageSize) && imageSize >= 4,
  );
  expectNumber(
    'labelNoise',
    labelNoise,
    'a probability from 0 to below 1',
    labelNoise >= 0 && labelNoise < 1,
  );
  expectNumber('seed', seed, 'a whole number', Number.isSafeInteger(seed));
  const perClass = { train: imagesPerClass, validation: validationPerClass, test: testPerClass };
  for (const [split, mean] of Object.entries(perClass)) {
    const total = Math.round(classes * mean);
    const fits = total >= 1 && total < 0x2000_0000;
    expectNumber(`${split} images a class`, mean, 'a mean that makes from 1 to 536,870,911 images', fits);
  }

  const tree = classTree(classes, difficulty);
  const frequencies = classFrequencies(classes, seed, difficulty);
  const templates = await classTemplates(tree, imageSize, seed, difficulty);
  const generator: Generator = { seed, tree, templates, frequencies, labelNoise, difficulty };
  const count = (split: SplitName) => Math.round(classes * perClass[split]);

  async function* images(split: SplitName): AsyncGenerator<LabelledImage> {
    const starts = runningSums(apportion(count(split), frequencies)); // (classes + 1)
    const order = Int32Array.from({ length: count(split) }, (_, position) => position);
    for (const position of createRandom(seed, 'jft-like', 'order', split).shuffle(order)) {
      const label = rangeOf(starts, position);
      yield drawImage(generator, label, firstIndex[split] + position - starts[label]);
    }
  }

  async function ceiling(signal?: AbortSignal) {
    const sample: LabelledImage[] = [];
    for await (const image of images('test')) if (sample.push(image) === ceilingImages) break;
    return await bayesCeiling(generator, sample, log, signal);
  }

  return {
    description:
      `${classes.toLocaleString('en')} synthetic classes in ${tree.families.toLocaleString('en')} families, long-tailed, ` +
      `${100 * labelNoise}% of the labels wrong (jft-like, seed ${seed})`,
    classes: classNames(tree),
    image: { height: imageSize, width: imageSize, channels: 1 },
    augmentation: { kind: 'none' },
    count,
    images,
    ceiling,
  };
}

function runningSums(parts: Int32Array): Int32Array {
  const sums = new Int32Array(parts.length + 1);
  for (let k = 0; k < parts.length; k++) sums[k + 1] = sums[k] + parts[k];
  return sums;
}

/** The k with `starts[k] <= position < starts[k + 1]`, by bisection. */
function rangeOf(starts: Int32Array, position: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= position) low = middle;
    else high = middle;
  }
  return low;
}

function expectNumber(name: string, value: number, range: string, fits: boolean): void {
  if (fits) return;
  throw new KdSpecError(
    'option-invalid',
    `jft-like: expected ${name} to be ${range}, not ${value}: change it`,
  );
}

/** `--source jft-like`. */
export const jftLike: Importer = {
  recognises: async (source) => source === 'jft-like',
  open: (_, { seed, log, classes, imagesPerClass, imageSize, labelNoise }) =>
    jftLikeSource({
      ...{ seed, log, ...withoutNull({ classes, imagesPerClass, labelNoise }) },
      ...(imageSize !== null && { imageSize: sidesOf(imageSize).height }),
    }),
};
