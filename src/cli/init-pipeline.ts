import { existsSync } from 'node:fs';
import { basename, relative, resolve } from 'node:path';
import { stringify } from 'yaml';
import { KdSpecError } from '../core/errors.js';
import { count } from '../core/quantity-text.js';
import { heldOutCount } from '../data/bystanders.js';
import type { ImageSize } from '../data/source.js';
import { forwardFlops, networkOn, trainingFlopsFactor } from '../models/network-definition.js';
import type { Settings } from '../pipeline/options.js';
import { defaultClusters } from '../pipeline/outline.js';
import { assumedFlopsPerSecond } from '../pipeline/plan.js';
import type { Inspection } from './inspect-source.js';

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
        ? `about ${count(Math.round(minutes / 60))} hours`
        : `about ${count(Math.round(minutes))} min`;
  const images =
    side === null || side < chosen * 1.25
      ? ''
      : `; the images have ${count(side)}, and time grows with the square`;
  return `pixels: ${time} for the generalist on one core${images}`;
}

/** Where others play the bystanders, the classes that a model confuses can be one group. */
function clustersFor({ classes, model }: Inspection, holdOut: number): number {
  const known = model === null ? 0 : classes - model.unknown.length;
  const hasBystanders = model !== null && known < model.classes && heldOutCount(known, holdOut) > 0;
  return hasBystanders ? Math.max(1, Math.round(known / 200)) : defaultClusters(classes);
}

interface Line {
  readonly text: string;
  readonly comment: string;
}

/**
 * A pipeline file for what was found, with a comment on each line.
 *
 * @param options.folder of the file, from which its paths start
 * @param options.holdOut share of the classes that play the bystanders of a foreign model
 * @param options.network that will be trained
 */
export function pipelineText(
  inspection: Inspection,
  {
    folder,
    holdOut,
    network,
    imageSize,
  }: {
    readonly folder: string;
    readonly holdOut: number;
    readonly network: Settings['generalist']['network'];
    /** As a person gave it. */
    readonly imageSize: ImageSize | null;
  },
): string {
  const { source, model, classes, images, isGrey } = inspection;
  const path = (place: string) => {
    const below = relative(folder, place);
    return stringify(below.startsWith('..') ? place : `./${below}`).trim();
  };
  const isPath = existsSync(source);
  const total = images.train + images.validation + images.test;
  const size = chosenSize(inspection, network);
  const clusters = clustersFor(inspection, holdOut);
  const subset = Math.round(classes / Math.max(1, clusters));
  const lines: Line[] = [
    { text: 'dataset:', comment: '' },
    {
      text: `  source: ${isPath ? path(resolve(source)) : source}`,
      comment: `${count(classes)} classes, ${count(total)} images`,
    },
    ...(model === null
      ? [
          {
            text: `  imageSize: ${imageSize ?? size.side}`,
            comment: imageSize === null ? sizeComment(inspection, size) : 'as given to init',
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
          { text: `    onnx: ${path(resolve(model.path))}`, comment: 'the classifier to improve' },
          ...Object.entries(model.hints).map(([key, value]) => ({
            text: `${key === 'imageSize' ? '  ' : '    '}${key}: ${key === 'labels' ? path(resolve(String(value))) : stringify(value).trim()}`,
            comment: 'as given to init',
          })),
        ]),
    {
      text: `  validationFraction: ${images.validation < 3 * classes && total >= 20 * classes ? 0.15 : 0.1}`,
      comment: 'of the images where the source has no validation part: it chooses what is kept',
    },
    { text: '  testFraction: 0.1', comment: 'the same for the test, which nothing is chosen by' },
    ...(model === null
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
    { text: 'subsets:', comment: '' },
    {
      text: `  clusters: ${clusters}`,
      comment:
        clusters === 1
          ? `one specialist for all ${count(classes)} classes`
          : `groups of confused classes, of ${count(subset)} on average: a specialist for each`,
    },
    { text: 'specialists:', comment: '' },
    {
      text: '  epochs: 10',
      comment: `passes over their own images; a class has ${count(Math.round(images.train / Math.max(1, classes)))} or so`,
    },
    { text: '  parallel: auto', comment: 'as many processes as cores and memory allow' },
    { text: 'ensemble:', comment: '' },
    {
      text: `  rule: ${model === null ? 'auto' : 'share-inside'}`,
      comment:
        model === null
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

/** @throws KdSpecError `usage` when there is a pipeline file already, unless `force` */
export function expectNoPipeline(path: string, { force }: { readonly force: boolean }): void {
  if (existsSync(path) && !force) {
    throw new KdSpecError(
      'usage',
      `${basename(path)} is there already: give another name with --out FILE, or --force to write over it`,
    );
  }
}
