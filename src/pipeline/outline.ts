import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Manifest } from '../core/artefact.js';
import { artefactFolder } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { nearestName } from '../core/nearest-name.js';
import { commonSize } from '../data/image-sizes.js';
import { generatorNames, openSource, recognise, sourceChoices } from '../data/importers/importers.js';
import { type ImageShape, imageSizeOf, type SplitName, sidesOf } from '../data/source.js';
import { isTempered } from '../distillation/student-objective.js';
import {
  copyingNetwork,
  countParameters,
  forwardFlops,
  type NetworkDefinition,
  networkOn,
  trainingFlopsPerImage,
} from '../models/network-definition.js';
import type { Settings } from './options.js';
import { metricsOf } from './stage-metrics.js';
import { viewsOf } from './views.js';

/** What is known of a data set before it is made, or of one that is there. */
export interface DatasetOutline {
  readonly source: string;
  /** The importer that opens it. */
  readonly kind: string;
  /** At most so many where `isExact` is false. */
  readonly classes: number | null;
  readonly images: Readonly<Record<SplitName, number>> | null;
  readonly image: ImageShape | null;
  readonly isExact: boolean;
  /**
   * Classes of the generalist that is imported as a model or as logits beside features, of which only `classes` have
   * examples; null without one.
   */
  readonly modelClasses: number | null;
  /** Whether that model is a file that kd-spec exported, with specialists of its own. */
  readonly isPatched?: boolean;
}

/** What a plan makes, as far as it is known beforehand. */
export interface Outline {
  /** Null where the plan needs no data set. */
  readonly dataset: DatasetOutline | null;
  /** Null where the shape of images or the number of classes is not known. */
  readonly generalist: NetworkOutline | null;
  readonly specialists: SpecialistsOutline | null;
  readonly student: (NetworkOutline & { readonly candidates: number }) | null;
}

export interface NetworkOutline {
  readonly definition: NetworkDefinition;
  readonly parameters: number;
  readonly flopsPerImage: number;
  /** Of all epochs; with early stopping at most. */
  readonly trainingFlops: number | null;
}

export interface SpecialistsOutline {
  readonly count: number;
  /** Of each, on average. */
  readonly classes: number | null;
  readonly retrain: 'head' | 'top' | 'all';
  readonly engine: 'local' | 'slurm' | 'kubernetes';
  /** Processes of this machine: 0 where a cluster trains, null where cores and free memory decide. */
  readonly processes: number | null;
  readonly trainingFlops: number | null;
}

/**
 * Subsets of a partition: as many as were asked for, or else of 50 classes on average, and of 1,500 where fewer than half
 * of the model's classes are clustered; more or fewer where bounds on their sizes want it. Most of what a few classes of
 * many are confused with lies outside in any case, and more of what lies inside is kept together: of 18,709 characters,
 * lists of 200, 1,000 and 1,500 gain more, on average, by one subset than by several.
 *
 * @param classes how many are clustered
 * @param all how many the model predicts, those included
 */
export function clustersOf(
  { clusters, minSize, maxSize }: Pick<Settings['subsets'], 'clusters' | 'minSize' | 'maxSize'>,
  classes: number,
  all: number,
): number {
  if (clusters !== null) return clusters;
  const usual =
    2 * classes < all ? Math.max(1, Math.round(classes / 1500)) : Math.max(2, Math.round(classes / 50));
  const most = minSize === null ? usual : Math.max(1, Math.floor(classes / minSize));
  const fewest = maxSize === null ? 1 : Math.ceil(classes / maxSize);
  return Math.max(fewest, Math.min(usual, most));
}

const defaultTop = 100;
const fullUpTo = 200; // classes that are stored fully where nobody says how many

/** Classes of a teacher's prediction that are stored. */
export function storedClasses(top: number | null, classes: number): number {
  return Math.min(classes, top ?? (classes <= fullUpTo ? classes : defaultTop));
}

/** The student's network: what was not chosen for it is as in the generalist. */
export function studentNetwork({
  student,
  generalist,
}: Pick<Settings, 'student' | 'generalist'>): Omit<NetworkDefinition, 'input' | 'outputs'> {
  const { convolutions, kernel, dense, normalisation, dropout } = student.network;
  return {
    convolutions: convolutions ?? generalist.network.convolutions,
    kernel: kernel ?? generalist.network.kernel,
    dense: dense ?? generalist.network.dense,
    normalisation: normalisation ?? generalist.network.normalisation,
    dropout,
  };
}

/**
 * Looks at what a data set will hold, without reading an image: generators by their options, imports by their folders.
 *
 * @throws KdSpecError `option-invalid` when there is no such source; what an importer throws
 */
export async function outlineSource({ dataset, seed }: Settings): Promise<DatasetOutline> {
  const { source, classes } = dataset;
  switch (source) {
    case 'jft-like': {
      const count = classes ?? 15_000;
      const validation = 4 * count;
      return {
        source,
        kind: source,
        classes: count,
        images: {
          train: Math.round(count * (dataset.imagesPerClass ?? 40)),
          validation,
          test: validation,
        },
        image: { ...sidesOf(dataset.imageSize ?? 16), channels: 1 },
        isExact: true,
        modelClasses: null,
      };
    }
    case 'han': {
      const held = (dataset.validationDesigns ?? 0) + (dataset.testDesigns ?? 0);
      const designs = Math.max(0, (dataset.fonts?.length ?? 0) - held);
      const most = classes ?? 0;
      return {
        source,
        kind: source,
        classes,
        images: {
          train: most * designs,
          validation: most * (dataset.validationDesigns ?? 0) * (dataset.copies ?? 1),
          test: most * (dataset.testDesigns ?? 0),
        },
        image: dataset.imageSize === null ? null : { ...sidesOf(dataset.imageSize), channels: 1 },
        isExact: false,
        modelClasses: null,
      };
    }
    case 'speech':
      return { source, kind: source, classes, images: null, image: null, isExact: false, modelClasses: null };
  }
  await expectSource(source);
  const { onnx, ...hints } = dataset.model;
  const { describeOnnx } = await import('../models/onnx/import-onnx.js');
  const { readExportedMetadata } = await import('../models/onnx/exported-metadata.js');
  const model =
    onnx === null
      ? undefined
      : await describeOnnx(onnx, {
          ...hints,
          imageSize: dataset.imageSize,
          exampleSize: () => commonSize(source),
        });
  const { importer, source: opened } = await openSource(source, {
    ...dataset,
    ...(model && { imageSize: imageSizeOf(model.input.image), channels: model.input.image.channels }),
    seed,
    log: silentLog,
  });
  const { train, validation, test } = {
    train: opened.count('train'),
    validation: opened.count('validation'),
    test: opened.count('test'),
  };
  return {
    source,
    kind: importer.name,
    classes: opened.occurring?.size ?? opened.classes.length,
    images: { train, validation, test },
    image: opened.image,
    isExact: true,
    modelClasses: model?.classes.names.length ?? opened.image.logits ?? null,
    ...(model && { isPatched: readExportedMetadata(model.model) !== undefined }),
  };
}

/** The same of a data set that is in the workspace. Nulls stand for what an older version did not write down. */
export async function outlineArtefact(
  { dataset, workspace }: Settings,
  manifest: Manifest,
): Promise<DatasetOutline> {
  const metrics = metricsOf('dataset', manifest.metrics);
  const { openDataset } = await import('../data/dataset.js');
  const opened = await openDataset(artefactFolder(workspace, 'dataset')).catch(() => undefined);
  return {
    source: dataset.source,
    kind: (await recognise(dataset.source).catch(() => undefined))?.name ?? 'image-folder',
    classes: metrics?.classes ?? null,
    images: metrics ? { train: metrics.train, validation: metrics.validation, test: metrics.test } : null,
    image: opened?.image ?? null,
    isExact: true,
    modelClasses: null,
  };
}

/** All classes, with those of an imported generalist that have no examples; null while they are not known. */
export function allClasses({ modelClasses, classes }: DatasetOutline): number | null {
  return modelClasses ?? classes;
}

/** The generalist of the settings; null while shape or classes are unknown, and for one that is imported. */
export function outlineGeneralist(
  { generalist, dataset: { model } }: Settings,
  dataset: DatasetOutline | null,
): NetworkOutline | null {
  if (model.onnx !== null) return null;
  const isGiven = dataset?.image?.logits !== undefined;
  return outlineNetwork(isGiven ? copyingNetwork : generalist.network, dataset, {
    epochs: isGiven ? 0 : generalist.epochs,
    sampledClasses: generalist.head.sampled,
  });
}

/** The student of the settings, and how many are trained to choose from. */
export function outlineStudent(settings: Settings, dataset: DatasetOutline | null): Outline['student'] {
  const { objective, temperature, hardWeight, epochs, transferShare } = settings.student;
  const candidates =
    objective === 'labels'
      ? 1
      : new Set(hardWeight).size * (isTempered(objective) ? new Set(temperature).size : 1);
  const network = outlineNetwork(studentNetwork(settings), dataset, {
    epochs: epochs * candidates * transferShare * Math.max(1, settings.answers.views),
  });
  return network && { ...network, candidates };
}

function outlineNetwork(
  network: Omit<NetworkDefinition, 'input' | 'outputs'>,
  dataset: DatasetOutline | null,
  { epochs, sampledClasses }: { readonly epochs: number; readonly sampledClasses?: number | null },
): NetworkOutline | null {
  const outputs = dataset && allClasses(dataset);
  if (!dataset?.image || outputs === null) return null;
  const definition = networkOn(dataset.image, network, outputs);
  return {
    definition,
    parameters: countParameters(definition),
    flopsPerImage: forwardFlops(definition),
    trainingFlops:
      dataset.images && trainingFlopsPerImage(definition, { sampledClasses }) * epochs * dataset.images.train,
  };
}

/**
 * How many specialists there will be, of how many classes, and what their training costs: the features that all share,
 * and for each pass over the special images as many others as the special fraction says.
 *
 * @param subsets classes of each, where the subsets are there already
 */
export function outlineSpecialists(
  settings: Settings,
  dataset: DatasetOutline | null,
  generalist: NetworkOutline | null,
  subsets: readonly number[] | undefined,
): SpecialistsOutline | null {
  const { subsets: options, specialists } = settings;
  const { retrain, engine, parallel, hangSeconds, workerMemory, specialFraction, epochs } = specialists;
  const total = dataset?.classes ?? null;
  const isFixed = options.specialists !== null && options.size !== null;
  const count =
    subsets?.length ??
    (isFixed
      ? options.specialists
      : total === null
        ? options.clusters
        : clustersOf(options, total, dataset?.modelClasses ?? total));
  if (count === null) return null;
  const classes =
    subsets !== undefined
      ? subsets.reduce((sum, size) => sum + size, 0) / Math.max(1, subsets.length)
      : isFixed
        ? options.size
        : total === null
          ? null
          : total / count;

  let trainingFlops: number | null = null;
  if (generalist !== null && dataset?.images && total !== null && classes !== null) {
    const { definition } = generalist;
    const { train } = dataset.images;
    const from = ({ head: 'head', top: 'dense', all: 'convolutions' } as const)[retrain];
    const network = {
      ...definition,
      copiesLogits: undefined,
      dense: specialists.dense ?? definition.dense,
      outputs: specialists.head === 'full' ? total : Math.round(classes) + 1,
    };
    const trained = trainingFlopsPerImage(network, { from });
    const frozen = forwardFlops(definition) - forwardFlops(definition, { from });
    const special = (train * count * classes) / total;
    trainingFlops =
      (retrain === 'all' ? 0 : viewsOf(settings, train) * train * frozen) +
      (trained * epochs * special) / specialFraction;
  }
  const isOurs = parallel === null && hangSeconds === null && workerMemory === null;
  return {
    count,
    classes,
    retrain,
    engine,
    processes: engine !== 'local' ? 0 : isOurs ? 1 : parallel === 'auto' ? null : (parallel ?? 1),
    trainingFlops,
  };
}

async function expectSource(source: string): Promise<void> {
  if (await stat(source).catch(() => undefined)) {
    await recognise(source).catch((error: unknown) => {
      if (!(error instanceof KdSpecError)) throw error;
      throw new KdSpecError('option-invalid', `--source: ${error.message}`, { cause: error });
    });
    return;
  }
  const meant = nearestName(basename(source), generatorNames);
  throw new KdSpecError(
    'option-invalid',
    `--source: expected ${sourceChoices}; found nothing at ${source}` +
      `${meant === undefined ? ': check the path' : `: did you mean "${meant}"?`}`,
  );
}
