import { createHash } from 'node:crypto';
import { KdSpecError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { count } from '../core/quantity-text.js';
import { commonSize, imageSizes } from '../data/image-sizes.js';
import { type ListedImporter, openSource, recognise } from '../data/importers/importers.js';
import { adviceOnNames, indexNames, matchClasses } from '../data/importers/known-classes.js';
import { type DatasetSource, type ImageShape, type SplitName, splitNames } from '../data/source.js';
import type { OnnxDescription } from '../models/onnx/import-onnx.js';
import { checkHints, checkSourceOptions } from '../pipeline/checks/generalist-checks.js';
import type { Settings } from '../pipeline/options.js';
import type { ResolvedSettings } from '../pipeline/settings.js';
import { fitWidth } from './summary.js';

/** What a look into a foreign classifier shows. */
export interface InspectedModel {
  readonly path: string;
  readonly classes: number;
  readonly features: number;
  readonly image: { readonly height: number; readonly width: number; readonly channels: number };
  /** A sentence for each thing that was read from somewhere or assumed. */
  readonly notes: readonly string[];
  /** Classes of the images that it does not know. */
  readonly unknown: readonly string[];
  /** What to do about them. */
  readonly advice: string;
  /** What a person said about it, as the pipeline file takes it. */
  readonly hints: Readonly<Record<string, string | number>>;
}

/** What a look at a source shows. */
export interface Inspection {
  readonly source: string;
  readonly kind: string;
  /** The model that is to be improved. */
  readonly model: InspectedModel | null;
  readonly classes: number;
  readonly images: Readonly<Record<SplitName, number>>;
  /** Images whose pixels were read: all, or the first of the random order of each part. */
  readonly looked: number;
  /** Images that cannot be read, among those that were to be looked at, and one of them. */
  readonly unreadable: { readonly count: number; readonly example: string | null };
  /** Training images of each class, among those. */
  readonly perClass: { readonly least: number; readonly median: number; readonly most: number };
  /** A class with the fewest. */
  readonly rarest: string;
  /** What a row holds where examples are no images but features made elsewhere; null for images. */
  readonly features: { readonly numbers: number; readonly logits: number } | null;
  /** Whether all are grey; null for features, which have no colours. */
  readonly isGrey: boolean | null;
  /** Median of the shorter side, in pixels; null where only decoded images can be seen, and for features. */
  readonly side: number | null;
  /** Images of validation or test whose very pixels stand in the training part, too. */
  readonly acrossParts: number;
  /** Images whose very pixels stand in another class, too. */
  readonly acrossClasses: number;
}

const probeSide = 32; // pixels to which images are brought for a look
const mostLooked = 6000; // images
const unreadableImages = 'images that cannot be read'; // as an import names them

/**
 * Looks at a source: classes, images, sizes, balance, duplicates; and at the model that is to be improved.
 *
 * @throws KdSpecError what the importer throws; `not-found`, `checkpoint-invalid` for a model that cannot be imported;
 * `dataset-invalid` where it knows none of the classes; `option-invalid` for options with which a run would not start
 */
export async function inspectSource(
  { settings, origins }: Pick<ResolvedSettings, 'settings' | 'origins'>,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<Inspection> {
  const { dataset, seed } = settings;
  checkSourceOptions({ settings, origins }, (await recognise(dataset.source)).name);
  checkHints({ settings, origins });
  const foreign = await describeForeign(dataset);
  const { importer, source } = await openSource(dataset.source, {
    ...dataset,
    imageSize: probeSide,
    channels: 3,
    seed,
    onError: 'skip',
    log,
  });
  const model = foreign ? inspectedModel(foreign, { source, kind: importer.name }, dataset) : null;
  const { width, channels, isFeatures = false, logits = 0 } = source.image;
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
      isGrey &&= isFeatures || channels === 1 || isGreyImage(pixels);
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
  const bad = source.report?.().leftOut.filter(({ what }) => what.startsWith(unreadableImages)) ?? [];
  return {
    source: dataset.source,
    kind: importer.name,
    model,
    classes: source.classes.length,
    images,
    looked,
    unreadable: {
      count: bad.reduce((sum, finding) => sum + finding.count, 0),
      example: bad[0]?.example ?? null,
    },
    perClass: {
      least: sorted[0] ?? 0,
      median: sorted[Math.floor(sorted.length / 2)] ?? 0,
      most: sorted.at(-1) ?? 0,
    },
    rarest: source.classes[perClass.indexOf(sorted[0] ?? 0)] ?? '',
    features: isFeatures ? { numbers: width - logits, logits } : null,
    isGrey: isFeatures ? null : isGrey,
    side: isFeatures ? null : await sideOf(dataset.source, importer, source.image),
    acrossParts,
    acrossClasses,
  };
}

async function describeForeign({ model, imageSize, source }: Settings['dataset']) {
  if (model.onnx === null) return undefined;
  const { describeOnnx } = await import('../models/onnx/import-onnx.js');
  return describeOnnx(model.onnx, { ...model, imageSize, exampleSize: () => commonSize(source) });
}

function inspectedModel(
  { model: { path }, head, input, classes, notes, warnings }: OnnxDescription,
  { source, kind }: { readonly source: DatasetSource; readonly kind: string },
  { model, imageSize }: Settings['dataset'],
): InspectedModel {
  const { nameOf, finding } = indexNames(source.classes, classes.names);
  const { unknown } = matchClasses(source.classes.map(nameOf), classes.names, { model: path, kind });
  const { onnx: _, ...said } = model;
  const hints = Object.entries({ ...said, imageSize }).flatMap(([key, value]) =>
    typeof value === 'string' || typeof value === 'number' ? [[key, value] as const] : [],
  );
  const { height, width, channels } = input.image;
  return {
    path,
    classes: classes.names.length,
    features: head.width,
    image: { height, width, channels },
    notes: [...notes, ...warnings, ...(finding ? [`the images have ${finding.what}`] : [])],
    unknown,
    advice: unknown.length === 0 ? '' : adviceOnNames(unknown, classes.names, kind),
    hints: Object.fromEntries(hints),
  };
}

function isGreyImage(pixels: Uint8Array): boolean {
  for (let at = 0; at < pixels.length; at += 3) {
    if (Math.abs(pixels[at] - pixels[at + 1]) > 2 || Math.abs(pixels[at] - pixels[at + 2]) > 2) return false;
  }
  return true;
}

/** The shorter side of the images of a source: of some files of a folder, or of all where they have one size. */
async function sideOf(
  source: string,
  { isGenerator, options }: ListedImporter,
  { height, width }: ImageShape,
): Promise<number | null> {
  if (isGenerator) return null;
  if (!options.includes('imageSize')) return Math.min(height, width);
  const sides = (await imageSizes(source)).map((size) => Math.min(size.height, size.width));
  return sides.sort((a, b) => a - b)[Math.floor(sides.length / 2)] ?? null;
}

/** What a source holds, in a word. */
const examplesOf = ({ features }: Pick<Inspection, 'features'>) => (features === null ? 'images' : 'rows');

/** Whether some images were not looked at. */
function isSampleOf({
  images,
  looked,
  unreadable,
}: Pick<Inspection, 'images' | 'looked' | 'unreadable'>): boolean {
  return looked + unreadable.count < images.train + images.validation + images.test;
}

/** What will not work, or badly. */
export function inspectionWarnings(inspection: Inspection): readonly string[] {
  const { classes, images, perClass, rarest, acrossParts, acrossClasses, looked, unreadable, model } =
    inspection;
  const examples = examplesOf(inspection);
  const isSampled = isSampleOf({ images, looked, unreadable });
  const found: string[] = [];
  const about = isSampled ? ` of the ${count(looked)} ${examples} looked at` : '';
  if (unreadable.count > 0) {
    const number = `${count(unreadable.count)} ${unreadable.count === 1 ? 'image' : 'images'}`;
    found.push(
      `${number}${about} cannot be read, such as ${unreadable.example}, and kd-spec run stops there: ` +
        'repair or remove what cannot be read, or leave it out with --on-error skip',
    );
  }
  if (classes < 2) found.push('there is one class only: put each class into a folder of its own');
  else if (classes < 20 && model === null) {
    found.push(
      `with ${classes} classes there is little to win by specialists: a generalist that is trained longer, or is wider, is the better buy`,
    );
  }
  if (model && model.unknown.length > 0) {
    const [first] = model.unknown;
    found.push(
      `${count(model.unknown.length)} of ${count(classes)} classes of the images are none of the model's, such as ${first}: their images will be ` +
        `left out; ${model.advice}`,
    );
  }
  if (!isSampled && perClass.least < 5) {
    found.push(
      `the smallest class, ${rarest}, has ${perClass.least} training ${perClass.least === 1 ? 'image' : 'images'}: below 5 a class is hardly learned`,
    );
  }
  if (!isSampled && perClass.median > 0 && perClass.most > 50 * perClass.median) {
    found.push(
      `the largest class has ${count(perClass.most)} training ${examples}, the median ${count(perClass.median)}: rare classes will be predicted too rarely`,
    );
  }
  if (images.validation < 3 * classes) {
    found.push(
      `${count(images.validation)} validation ${examples} are ${(images.validation / Math.max(1, classes)).toFixed(1)} for each class: ` +
        `what they choose (rule, weights, which specialists are kept) is little more than chance; more ${examples}, or a larger validationFraction, help`,
    );
  }
  if (acrossParts > 0) {
    found.push(
      `${count(acrossParts)} validation or test ${examples}${about} are among the training ${examples}, too: accuracies will look better than they are; ` +
        'remove the copies, or keep what belongs together on one side (--group)',
    );
  }
  if (acrossClasses > 0) {
    found.push(
      `${count(acrossClasses)} ${examples}${about} stand in two classes: nothing can tell these apart`,
    );
  }
  return found;
}

/** What was found, for a person: a line for each thing. */
export function inspectionText({
  source,
  kind,
  model,
  classes,
  images,
  looked,
  unreadable,
  perClass,
  features,
  isGrey,
  side,
}: Inspection): readonly (readonly [string, string])[] {
  const examples = examplesOf({ features });
  const isSampled = isSampleOf({ images, looked, unreadable });
  return [
    ['source', `${fitWidth(source, 60)} (${kind})`],
    ['classes', count(classes)],
    [
      examples,
      `${count(images.train)} training, ${count(images.validation)} validation, ${count(images.test)} test`,
    ],
    ...(isSampled
      ? ([['looked at', `${count(looked)} of them`]] as const)
      : ([
          [
            'for each class',
            `${count(perClass.least)} to ${count(perClass.most)} training ${examples}, median ${count(perClass.median)}`,
          ],
        ] as const)),
    features === null
      ? (['colours', isGrey ? 'grey' : 'colour'] as const)
      : ([
          'features',
          features.logits === 0
            ? `${count(features.numbers)} numbers each`
            : `${count(features.numbers)} numbers each, and logits of ${count(features.logits)} classes, which are the generalist`,
        ] as const),
    ...(side === null ? [] : ([['shorter side', `${count(side)} pixels, median`]] as const)),
    ...(model === null ? [] : modelText(model, classes)),
  ];
}

function modelText(
  { path, classes, features, image, unknown, notes }: InspectedModel,
  own: number,
): readonly (readonly [string, string])[] {
  const { height, width, channels } = image;
  return [
    ['model', fitWidth(path, 60)],
    [
      '',
      `${count(classes)} classes, ${count(features)} features, images of ${height} x ${width} in ${channels === 1 ? 'grey' : 'colour'}`,
    ],
    ['', `${count(own - unknown.length)} of the ${count(own)} classes of the images are among its own`],
    ...notes.map((note) => ['', note] as const),
  ];
}
