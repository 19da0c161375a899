import { existsSync } from 'node:fs';
import { basename, isAbsolute, relative } from 'node:path';
import { stringify } from 'yaml';
import { assert, KdSpecError } from '../core/errors.js';
import type { JsonValue } from '../core/json.js';
import { count } from '../core/quantity-text.js';
import type { SourceOptions } from '../data/importers/importer.js';
import { importers, type ListedImporter } from '../data/importers/importers.js';
import { forwardFlops, networkOn, trainingFlopsFactor } from '../models/network-definition.js';
import { keyOf, type ListedOption, pipelineOptions } from '../pipeline/option-list.js';
import type { Settings } from '../pipeline/options.js';
import { clustersOf } from '../pipeline/outline.js';
import { assumedFlopsPerSecond } from '../pipeline/plan.js';
import { type ResolvedSettings, settingAt } from '../pipeline/settings.js';
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

interface Line {
  readonly text: string;
  readonly comment: string;
}

/** A value of the pipeline, and what is said about it. */
interface Entry {
  readonly value: JsonValue;
  readonly comment: string;
}

/**
 * What the look suggests for options of the data set, by key: only those that its importer takes, since a run refuses a
 * pipeline with others. A foreign model fixes the shape of images, and what kd-spec generates has settings of its own.
 */
function suggestions(
  inspection: Inspection,
  { name, isGenerator, options }: ListedImporter,
  { dataset, generalist }: Settings,
): ReadonlyMap<string, Entry> {
  const { model, classes, images, isGrey } = inspection;
  if (isGenerator) return new Map();
  const size = chosenSize(inspection, generalist.network);
  const total = images.train + images.validation + images.test;
  const isScarce = images.validation < 3 * classes && total >= 20 * classes;
  const ofImages = {
    imageSize: { value: size.side, comment: sizeComment(inspection, size) },
    channels: { value: isGrey ? 1 : 3, comment: isGrey ? 'all images are grey' : 'colour' },
  } as const satisfies Partial<Record<keyof SourceOptions, Entry>>;
  const ofParts = {
    validationFraction: {
      value: isScarce ? Math.max(0.15, dataset.validationFraction) : dataset.validationFraction,
      comment:
        name === 'idx'
          ? 'of the training images: it chooses what is kept'
          : 'of the images where the source has no validation part: it chooses what is kept',
    },
    testFraction: {
      value: dataset.testFraction,
      comment: 'the same for the test, which nothing is chosen by',
    },
  } as const satisfies Partial<Record<keyof SourceOptions, Entry>>;
  const taken: readonly string[] = options;
  const entries = Object.entries({ ...(model === null && ofImages), ...ofParts });
  return new Map(entries.flatMap(([key, entry]) => (taken.includes(key) ? [[`dataset.${key}`, entry]] : [])));
}

/**
 * What the pipeline says of an option of the data set, so that a run means what this command was given. A suggestion
 * gives way to a flag or the environment alone: what an earlier run left in the workspace does not outlive a new look.
 *
 * @returns undefined where it says nothing
 */
function entryOf(
  listed: ListedOption,
  { settings, origins }: Pick<ResolvedSettings, 'settings' | 'origins'>,
  suggested: Entry | undefined,
): Entry | undefined {
  const value = settingAt(settings, listed.path);
  const kind = origins.get(keyOf(listed))?.kind;
  const isGiven = kind === 'flag' || kind === 'environment';
  // None leaves the choice open, and is then chosen here.
  if (suggested && (!isGiven || value === null)) return suggested;
  if (isGiven) return { value, comment: 'as given to init' };
  const isInForce = kind === 'pipeline' || kind === 'fallback';
  return isInForce ? { value, comment: 'as the pipeline in force has it' } : undefined;
}

/** The lines that say which data, and how they are read. */
function dataLines(
  inspection: Inspection,
  resolved: Pick<ResolvedSettings, 'settings' | 'origins'>,
  folder: string,
): readonly Line[] {
  const { model, classes, images, kind } = inspection;
  const importer = importers.find(({ name }) => name === kind);
  assert(importer !== undefined, `no importer is called ${kind}`);
  const suggested = suggestions(inspection, importer, resolved.settings);
  const comments: Readonly<Record<string, string>> = {
    'dataset.source': `${count(classes)} classes, ${count(images.train + images.validation + images.test)} images`,
    'dataset.model.onnx': 'the classifier to improve',
  };
  const mappings: Readonly<Record<string, string>> = {
    dataset: '',
    'dataset.model':
      model === null
        ? 'how a foreign model is read'
        : 'it stays as it is: specialists are trained on its features',
  };
  const lines: Line[] = [];
  const open = new Set<string>();
  for (const listed of pipelineOptions) {
    const { section, path, option } = listed;
    const key = keyOf(listed);
    // Of the options of all commands, those that change results: the seed divides the images.
    if (section !== 'dataset' && !(section === undefined && option.affects === 'result')) continue;
    const entry = entryOf(listed, resolved, suggested.get(key));
    if (entry === undefined) continue;
    for (const [depth, name] of path.slice(0, -1).entries()) {
      const mapping = path.slice(0, depth + 1).join('.');
      if (!open.has(mapping))
        lines.push({ text: `${'  '.repeat(depth)}${name}:`, comment: mappings[mapping] ?? '' });
      open.add(mapping);
    }
    const isPath = option.type === 'path' || (key === 'dataset.source' && !importer.isGenerator);
    const { value } = entry;
    const written = isPath && typeof value === 'string' ? pathFrom(folder, value) : value;
    const indent = '  '.repeat(path.length - 1);
    lines.push({
      text: `${indent}${path.at(-1)}: ${inYaml(written)}`,
      comment: comments[key] ?? entry.comment,
    });
  }
  return lines;
}

/** A path as a file in the folder names it: those below are relative, so that folder and file can move together. */
function pathFrom(folder: string, place: string): string {
  const below = relative(folder, place);
  return below.startsWith('..') || isAbsolute(below) ? place : `./${below}`;
}

/** On one line, however long: a comment follows. */
function inYaml(value: JsonValue): string {
  return stringify(value, { lineWidth: 0, blockQuote: false, collectionStyle: 'flow' }).trim();
}

/**
 * A pipeline file for what was found, with a comment on each line. It means the same as the command that looked: what was
 * given stays, and the rest is suggested.
 *
 * @param resolved the settings that the look was taken with
 * @param folder of the file, from which its paths start
 */
export function pipelineText(
  inspection: Inspection,
  resolved: Pick<ResolvedSettings, 'settings' | 'origins'>,
  folder: string,
): string {
  const { model, classes, images, features } = inspection;
  const known = classes - (model?.unknown.length ?? 0);
  const all = model?.classes ?? (features?.logits || classes);
  const clusters = clustersOf({ ...resolved.settings.subsets, clusters: null }, known, all);
  const subset = Math.round(classes / Math.max(1, clusters));
  const isTrained = model === null && !features?.logits; // logits beside features are a generalist already
  const lines: Line[] = [
    ...dataLines(inspection, resolved, folder),
    ...(isTrained
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
      text: '  rule: auto',
      comment:
        model === null
          ? 'validation chooses among the rules of fusion'
          : 'with bystanders validation chooses within --harm, without them share-inside harms nobody',
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
