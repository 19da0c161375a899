import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { basename, relative, resolve } from 'node:path';
import sharp from 'sharp';
import { stringify } from 'yaml';
import { writeFileAtomically } from '../core/atomic-file.js';
import { KdSpecError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { count } from '../core/quantity-text.js';
import { listImages } from '../data/image-files.js';
import { openSource } from '../data/importers/importers.js';
import { type SplitName, splitNames } from '../data/source.js';
import { forwardFlops, networkOn, trainingFlopsFactor } from '../models/network-definition.js';
import type { Settings } from '../pipeline/options.js';
import { defaultClusters } from '../pipeline/outline.js';
import { assumedFlopsPerSecond } from '../pipeline/plan.js';
import { fitWidth } from './summary.js';

/** What a look at a source shows. */
export interface Inspection {
  readonly source: string;
  readonly kind: string;
  /** Path of the model that is to be improved. */
  readonly onnx: string | null;
  readonly classes: number;
  readonly images: Readonly<Record<SplitName, number>>;
  /** Images whose pixels were read: all, or the first of the random order of each part. */
  readonly looked: number;
  /** Training images of each class, among those. */
  readonly perClass: { readonly least: number; readonly median: number; readonly most: number };
  /** A class with the fewest. */
  readonly rarest: string;
  /** Whether all are grey. */
  readonly isGrey: boolean;
  /** Median of the shorter side, in pixels; null where only decoded images can be seen. */
  readonly side: number | null;
  /** Images of validation or test whose very pixels stand in the training part, too. */
  readonly acrossParts: number;
  /** Images whose very pixels stand in another class, too. */
  readonly acrossClasses: number;
}

const probeSide = 32; // pixels to which images are brought for a look
const mostLooked = 6000; // images
const sidesLooked = 200;

/**
 * Looks at a source: classes, images, sizes, balance, duplicates.
 *
 * @throws KdSpecError what the importer throws
 */
export async function inspectSource(
  { dataset, seed }: Pick<Settings, 'dataset' | 'seed'>,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<Inspection> {
  const { importer, source } = await openSource(dataset.source, {
    ...dataset,
    imageSize: probeSide,
    channels: 3,
    seed,
    onError: 'skip',
    log,
  });
  const images = {
    train: source.count('train'),
    validation: source.count('validation'),
    test: source.count('test'),
  };
  const total = images.train + images.validation + images.test;
  const share = Math.min(1, mostLooked / Math.max(1, total));
  const perClass = new Int32Array(source.classes.length);
  const seen = new Map<string, { readonly split: SplitName; readonly label: number }>();
  let [looked, acrossParts, acrossClasses, isGrey] = [0, 0, 0, true];
  const progress = log.progress('look at images', Math.min(total, mostLooked));
  for (const split of splitNames) {
    const wanted = Math.ceil(share * images[split]);
    let taken = 0;
    if (wanted === 0) continue;
    for await (const { pixels, label } of source.images(split)) {
      if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${looked} images`);
      if (split === 'train') perClass[label]++;
      isGrey &&= isGreyImage(pixels);
      const hash = createHash('sha256').update(pixels).digest('base64');
      const before = seen.get(hash);
      if (before && before.split !== split) acrossParts++;
      if (before && before.label !== label) acrossClasses++;
      if (!before) seen.set(hash, { split, label });
      progress.update(++looked);
      if (++taken >= wanted) break;
    }
  }
  progress.finish();
  const sorted = perClass.toSorted((a, b) => a - b);
  return {
    source: dataset.source,
    kind: importer.name,
    onnx: dataset.model.onnx,
    classes: source.classes.length,
    images,
    looked,
    perClass: {
      least: sorted[0] ?? 0,
      median: sorted[Math.floor(sorted.length / 2)] ?? 0,
      most: sorted.at(-1) ?? 0,
    },
    rarest: source.classes[perClass.indexOf(sorted[0] ?? 0)] ?? '',
    isGrey,
    side: await medianSide(dataset.source),
    acrossParts,
    acrossClasses,
  };
}

function isGreyImage(pixels: Uint8Array): boolean {
  for (let at = 0; at < pixels.length; at += 3) {
    if (Math.abs(pixels[at] - pixels[at + 1]) > 2 || Math.abs(pixels[at] - pixels[at + 2]) > 2) return false;
  }
  return true;
}

/** Of the shorter sides of some files of a folder of images. */
async function medianSide(source: string): Promise<number | null> {
  if (!existsSync(source) || !statSync(source).isDirectory()) return null;
  const paths = await listImages(source).catch(() => []);
  const step = Math.max(1, Math.floor(paths.length / sidesLooked));
  const sides: number[] = [];
  for (let index = 0; index < paths.length; index += step) {
    const { width, height } =
      (await sharp(paths[index])
        .metadata()
        .catch(() => undefined)) ?? {};
    if (width && height) sides.push(Math.min(width, height));
  }
  return sides.sort((a, b) => a - b)[Math.floor(sides.length / 2)] ?? null;
}

const usualSides = [16, 20, 24, 28, 32, 48, 64];
const usualEpochs = 50; // after which validation stops improving on small folders: docs/results/defaults.md
const mostMinutes = 15;

/** A size to train at. */
interface ChosenSize {
  /** In pixels. */
  readonly side: number;
  /** How long the generalist's training takes about. */
  readonly minutes: number;
}

/**
 * The size to train at: that of the images, or the largest one that trains in a quarter of an hour; 32 pixels, or what
 * the images have, in any case.
 */
export function chosenSize(
  { side, classes, images, isGrey }: Pick<Inspection, 'side' | 'classes' | 'images' | 'isGrey'>,
  network: Settings['generalist']['network'],
): ChosenSize {
  const minutesAt = (pixels: number) => {
    const input = { height: pixels, width: pixels, channels: isGrey ? 1 : 3 } as const;
    const flops = trainingFlopsFactor * forwardFlops(networkOn(input, network, classes));
    return (flops * images.train * usualEpochs) / assumedFlopsPerSecond / 60;
  };
  const possible = usualSides.filter((usual) => usual <= Math.max(usualSides[0], side ?? 32));
  const affordable = possible.filter((usual) => usual <= 32 || minutesAt(usual) <= mostMinutes);
  const chosen = affordable.at(-1) ?? usualSides[0];
  return { side: chosen, minutes: minutesAt(chosen) };
}

function sizeComment({ side }: Pick<Inspection, 'side'>, { side: chosen, minutes }: ChosenSize): string {
  const time =
    minutes < 1
      ? 'under a minute'
      : minutes > 90
        ? `${count(Math.round(minutes / 60))} hours`
        : `${count(Math.round(minutes))} min`;
  const images =
    side === null || side < chosen * 1.25
      ? ''
      : `; the images have ${count(side)}, and time grows with the square`;
  return `pixels: about ${time} for the generalist on one core${images}`;
}

/** What will not work, or badly. */
export function inspectionWarnings(inspection: Inspection): readonly string[] {
  const { classes, images, perClass, rarest, acrossParts, acrossClasses, looked, onnx } = inspection;
  const isSampled = looked < images.train + images.validation + images.test;
  const found: string[] = [];
  const about = isSampled ? ` of the ${count(looked)} images looked at` : '';
  if (classes < 2) found.push('there is one class only: put each class into a folder of its own');
  else if (classes < 20 && onnx === null) {
    found.push(
      `with ${classes} classes there is little to win by specialists: a generalist that is trained longer, or is wider, is the better buy`,
    );
  }
  if (!isSampled && perClass.least < 5) {
    found.push(
      `the smallest class, ${rarest}, has ${perClass.least} training ${perClass.least === 1 ? 'image' : 'images'}: below 5 a class is hardly learned`,
    );
  }
  if (!isSampled && perClass.median > 0 && perClass.most > 50 * perClass.median) {
    found.push(
      `the largest class has ${count(perClass.most)} training images, the median ${count(perClass.median)}: rare classes will be predicted too rarely`,
    );
  }
  if (images.validation < 3 * classes) {
    found.push(
      `${count(images.validation)} validation images are ${(images.validation / Math.max(1, classes)).toFixed(1)} for each class: ` +
        'what they choose (rule, weights, which specialists are kept) is little more than chance; more images, or a larger validationFraction, help',
    );
  }
  if (acrossParts > 0) {
    found.push(
      `${count(acrossParts)} validation or test images${about} are among the training images, too: accuracies will look better than they are; ` +
        'remove the copies, or keep what belongs together on one side (--group)',
    );
  }
  if (acrossClasses > 0) {
    found.push(`${count(acrossClasses)} images${about} stand in two classes: nothing can tell these apart`);
  }
  return found;
}

/** What was found, for a person: a line for each thing. */
export function inspectionText({
  source,
  kind,
  classes,
  images,
  looked,
  perClass,
  isGrey,
  side,
}: Inspection): readonly (readonly [string, string])[] {
  const isSampled = looked < images.train + images.validation + images.test;
  return [
    ['source', `${fitWidth(source, 60)} (${kind})`],
    ['classes', count(classes)],
    [
      'images',
      `${count(images.train)} training, ${count(images.validation)} validation, ${count(images.test)} test`,
    ],
    ...(isSampled
      ? ([['looked at', `${count(looked)} of them`]] as const)
      : ([
          [
            'for each class',
            `${count(perClass.least)} to ${count(perClass.most)} training images, median ${count(perClass.median)}`,
          ],
        ] as const)),
    ['colours', isGrey ? 'grey' : 'colour'],
    ...(side === null ? [] : ([['shorter side', `${count(side)} pixels, median`]] as const)),
  ];
}

interface Line {
  readonly text: string;
  readonly comment: string;
}

/**
 * A pipeline file for what was found, with a comment on each line.
 *
 * @param options.folder of the file, from which its paths start
 * @param options.network that will be trained
 */
export function pipelineText(
  inspection: Inspection,
  { folder, network }: { readonly folder: string; readonly network: Settings['generalist']['network'] },
): string {
  const { source, onnx, classes, images, isGrey, perClass } = inspection;
  const path = (place: string) => {
    const below = relative(folder, place);
    return stringify(below.startsWith('..') ? place : `./${below}`).trim();
  };
  const isPath = existsSync(source);
  const total = images.train + images.validation + images.test;
  const size = chosenSize(inspection, network);
  const clusters = onnx === null ? defaultClusters(classes) : Math.max(1, Math.round(classes / 200));
  const subset = Math.round(classes / Math.max(1, clusters));
  const lines: Line[] = [
    { text: 'dataset:', comment: '' },
    {
      text: `  source: ${isPath ? path(resolve(source)) : source}`,
      comment: `${count(classes)} classes, ${count(total)} images`,
    },
    ...(onnx === null
      ? [
          {
            text: `  imageSize: ${size.side}`,
            comment: sizeComment(inspection, size),
          },
          {
            text: `  channels: ${isGrey ? 1 : 3}`,
            comment: isGrey ? 'all images are grey' : 'colour',
          },
        ]
      : [
          {
            text: '  model:',
            comment: 'it stays as it is: specialists are trained on its features',
          },
          { text: `    onnx: ${path(resolve(onnx))}`, comment: 'the classifier to improve' },
        ]),
    {
      text: `  validationFraction: ${images.validation < 3 * classes && total >= 20 * classes ? 0.15 : 0.1}`,
      comment: 'of the images where the source has no validation part: it chooses what is kept',
    },
    { text: '  testFraction: 0.1', comment: 'the same for the test, which nothing is chosen by' },
    ...(onnx === null
      ? [
          { text: 'generalist:', comment: '' },
          { text: '  epochs: 100', comment: 'at most: it stops when validation no longer improves' },
          { text: '  patience: 5', comment: 'epochs without an improvement, after which it stops' },
          {
            text: `  batchSize: ${images.train > 200_000 ? 128 : 32}`,
            comment:
              images.train > 200_000
                ? 'images a step; many images make steps enough'
                : 'images a step; small batches make many steps of few images',
          },
        ]
      : []),
    ...(onnx === null || clusters > 1
      ? [
          { text: 'subsets:', comment: '' },
          {
            text: `  clusters: ${clusters}`,
            comment: `groups of confused classes, of ${count(subset)} on average: a specialist for each`,
          },
        ]
      : []),
    { text: 'specialists:', comment: '' },
    {
      text: '  epochs: 10',
      comment: `passes over their own images; a class has ${count(perClass.median)} or so`,
    },
    { text: '  parallel: auto', comment: 'as many processes as cores and memory allow' },
    { text: 'ensemble:', comment: '' },
    {
      text: `  rule: ${onnx === null ? 'auto' : 'share-inside'}`,
      comment:
        onnx === null
          ? 'validation chooses among the rules of fusion'
          : 'no mass leaves or enters a group: classes without images keep theirs',
    },
  ];
  const width = Math.max(...lines.map(({ text }) => text.length));
  const body = lines.map(({ text, comment }) =>
    comment === '' ? text : `${text.padEnd(width)}  # ${comment}`,
  );
  return `# Written by kd-spec init. Every line can be changed; docs/reference.md lists what else there is.\n${body.join('\n')}\n`;
}

/**
 * Writes a pipeline file.
 *
 * @throws KdSpecError `usage` when there is one already, unless `force`
 */
export async function writePipeline(
  path: string,
  text: string,
  { force }: { readonly force: boolean },
): Promise<void> {
  if (existsSync(path) && !force) {
    throw new KdSpecError(
      'usage',
      `${basename(path)} is there already: give another name with --out FILE, or --force to write over it`,
    );
  }
  await writeFileAtomically(path, text);
}
