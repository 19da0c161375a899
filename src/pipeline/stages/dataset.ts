import { rm } from 'node:fs/promises';
import { assert, KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import {
  asBystanders,
  bystanderFolder,
  heldOutCount,
  holdOutClasses,
  openBystanderSource,
} from '../../data/bystanders.js';
import type { ImportReport } from '../../data/import-report.js';
import type { SourceOptions } from '../../data/importers/importer.js';
import { openSource } from '../../data/importers/importers.js';
import { indexNames, labelFinder, withKnownClasses, withNames } from '../../data/importers/known-classes.js';
import { type DatasetSource, type ImageShape, imageSizeOf } from '../../data/source.js';
import { writeDataset } from '../../data/write-dataset.js';
import { groupAdvice } from '../checks/check.js';
import type { Settings } from '../options.js';
import { sourceStates } from '../source-state.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

/** Imports or generates the data set and writes it as Arrow shards. */
export async function makeDataset({
  settings,
  directory,
  log,
  signal,
}: StageContext): Promise<StageResults['dataset']> {
  const { dataset, seed } = settings;
  const states = await sourceStates(settings);
  const foreign = dataset.model.onnx === null ? undefined : await describeModel(dataset, log);
  const options = {
    ...dataset,
    ...(foreign && { imageSize: imageSizeOf(foreign.input.image), channels: foreign.input.image.channels }),
    seed,
    log,
  };
  const { importer, source: opened } = await openSource(dataset.source, options);
  if (foreign) expectImagesOf(foreign.input.image, opened);
  const given = // before anything is read, so that a wrong path is refused before it
    dataset.bystanders === null ? undefined : await openGiven(dataset.bystanders, opened, options);
  const names = foreign && indexNames([...opened.classes, ...(given?.classes ?? [])], foreign.classes.names);
  const own = names ? withNames(opened, names) : opened;
  const known = foreign
    ? withKnownClasses(own, foreign.classes.names, { model: foreign.model.path, kind: importer.name })
    : own;
  const areKnown = foreign !== undefined || opened.image.logits !== undefined;
  const held = areKnown && dataset.bystanders === null ? holdOut(known, own, settings, log) : undefined;
  const source = held?.rest ?? known;
  await rm(directory, { recursive: true, force: true }); // shards of an interrupted run: writing starts afresh
  const writing = { shardBytes: dataset.shardMegabytes * 2 ** 20, log, signal };
  const { splits, classes, labels, report } = await writeDataset(directory, source, {
    ...writing,
    areKnown,
  });
  if (report) logReport(report, log);
  const hasImages = (label: number) => labels.train[label] > 0;
  const others = given
    ? {
        ...asBystanders(names ? withNames(given, { ...names, finding: undefined }) : given, source.classes, {
          hasImages,
          seed,
        }),
        augmentation: source.augmentation,
      }
    : held?.bystanders;
  const bystanders = others && (await writeBystanders(directory, others, writing));
  checkValidation(labels, source.classes, dataset.group, log);
  const { train, validation, test } = splits;
  return {
    description: source.description,
    classes,
    train: train.rows,
    validation: validation.rows,
    test: test.rows,
    shards: train.shards + validation.shards + test.shards,
    bytes: train.bytes + validation.bytes + test.bytes,
    ...(bystanders && {
      bystanders: {
        ...bystanders,
        ...(held && { heldOut: held.heldOut.map((label) => source.classes[label]) }),
      },
    }),
    ...(foreign && { model: { notes: [...foreign.notes] } }),
    ...(report && {
      import: {
        kind: importer.name,
        leftOut: report.leftOut.map((finding) => ({ ...finding })),
        notes: report.notes.map((finding) => ({ ...finding })),
      },
    }),
    ...states,
  };
}

/** Takes some of the classes with examples to play the bystanders, where there are examples of a part of all classes. */
function holdOut(
  known: DatasetSource,
  own: DatasetSource,
  { dataset: { holdOut: share }, seed }: Settings,
  log: Log,
): ReturnType<typeof holdOutClasses> | undefined {
  const images = known.image.isFeatures ? 'rows' : 'images';
  const occurring = [...(own.occurring ?? own.classes.keys())]; // in the order of its own classes, not of the known ones
  const labelOf = labelFinder(known.classes);
  const pictured = new Set(occurring.map((label) => labelOf(own.classes[label])));
  const withImages = [...known.classes.keys()].filter((label) => pictured.has(label));
  if (withImages.length === known.classes.length || share === 0) return undefined;
  const count = heldOutCount(withImages.length, share);
  if (count === 0) {
    log.warn(
      `${images} of ${withImages.length} classes are too few to keep some from the specialists, so that nothing measures ` +
        `what these do to the other classes: give ${images} of others with --bystanders PATH`,
    );
    return undefined;
  }
  const held = holdOutClasses(known, withImages, { count, seed });
  const [first] = held.heldOut;
  log.info(
    `${count.toLocaleString('en')} of the ${withImages.length.toLocaleString('en')} classes with ${images} are kept from ` +
      `the specialists, to measure what these do to other classes, such as ${known.classes[first]}; --bystanders PATH ` +
      `gives other ${images} for that, and --hold-out 0 none`,
  );
  return held;
}

/** Some sources have images of a size of their own, which no option changes. */
function expectImagesOf(model: ImageShape, { image, description }: DatasetSource): void {
  if (image.isFeatures) return; // refused by what reads them
  if (image.height === model.height && image.width === model.width && image.channels === model.channels)
    return;
  const text = ({ height, width, channels }: ImageShape) => `${height} x ${width} x ${channels}`;
  throw new KdSpecError(
    'dataset-invalid',
    `the model takes images of ${text(model)}, the data set has ${text(image)} (height, width, channels; ${description}): ` +
      'give the images as files, which are brought to the size of the model',
  );
}

/** Opens the bystanders that a person gave, as images of the data set's shape, whose labels count as its own do. */
function openGiven(
  path: string,
  { image, numbersFrom }: DatasetSource,
  options: SourceOptions,
): Promise<DatasetSource> {
  const shape = { imageSize: imageSizeOf(image), channels: image.channels };
  return openBystanderSource(path, { ...options, ...shape, numbersFrom });
}

async function writeBystanders(
  directory: string,
  source: DatasetSource,
  options: Parameters<typeof writeDataset>[2] & { readonly log: Log },
) {
  const writing = { ...options, needsTraining: false };
  const { splits, labels, report } = await writeDataset(bystanderFolder(directory), source, writing);
  const { train: teach, validation: bound, test } = splits;
  const unlabelled = source.classes.length - 1;
  const warnings = report?.notes.filter(({ isWarning }) => isWarning) ?? [];
  logReport({ leftOut: report?.leftOut ?? [], notes: warnings }, options.log);
  if (bound.rows === 0 || test.rows === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `--bystanders: expected images of classes without training images to bound the harm and for the test, found ` +
        `${bound.rows} and ${test.rows}: give more, or leave it out`,
    );
  }
  return {
    description: source.description,
    teach: teach.rows,
    bound: bound.rows,
    test: test.rows,
    unlabelled: labels.validation[unlabelled] + labels.test[unlabelled],
    classes: labels.test.subarray(0, unlabelled).reduce((sum, images) => sum + Number(images > 0), 0),
  };
}

/** The foreign model that is to be the generalist: its classes and its images are those of the data set. */
async function describeModel({ model, imageSize }: Settings['dataset'], log: Log) {
  assert(model.onnx !== null, 'a model was named');
  const { describeOnnx } = await import('../../models/onnx/import-onnx.js');
  const described = await describeOnnx(model.onnx, { ...model, imageSize });
  for (const note of described.notes) log.info(note);
  return described;
}

function logReport({ leftOut, notes }: ImportReport, log: Log): void {
  for (const { what, count, example } of leftOut) {
    log.warn(`left out ${count.toLocaleString('en')}: ${what}, such as ${example}`);
  }
  for (const { what, count, example, isWarning } of notes) {
    const line = `taken ${count.toLocaleString('en')}: ${what}, such as ${example}`;
    if (isWarning) log.warn(line);
    else log.info(line);
  }
}

/**
 * Classes that are learned and that nothing is chosen by; that there are few validation images on average was said while
 * planning.
 *
 * @param labels images of each class, (classes) of each split
 */
function checkValidation(
  { train, validation }: { readonly train: Int32Array; readonly validation: Int32Array },
  classes: readonly string[],
  group: string | null,
  log: Log,
): void {
  const without = classes.filter((_, label) => train[label] > 0 && validation[label] === 0);
  if (without.length === 0) return;
  const learned = train.reduce((sum, images) => sum + Number(images > 0), 0);
  log.warn(
    `${without.length.toLocaleString('en')} of ${learned.toLocaleString('en')} classes with training images ` +
      `${without.length === 1 ? 'has' : 'have'} no validation image, such as ${without[0]}: rule, temperatures and weights ` +
      'are chosen without them; ' +
      (group === null ? 'add images, or raise --validation-fraction' : groupAdvice(group)),
  );
}
