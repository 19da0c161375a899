import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readManifest } from '../../core/artefact.js';
import { KdSpecError } from '../../core/errors.js';
import { withFileErrors } from '../../core/file-error.js';
import { parseJson } from '../../core/json-file.js';
import { shortPercent } from '../../core/percent.js';
import { byteSize, count } from '../../core/quantity-text.js';
import { openBystanders } from '../../data/bystanders.js';
import { openDataset, type Split } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import type { ImageShape } from '../../data/source.js';
import { loadNetworkEnsemble, type NetworkEnsemble } from '../../ensemble/ensemble.js';
import {
  firstClassesKey,
  type JudgingImages,
  judgingBystanders,
  storedFirstClasses,
} from '../../evaluation/first-classes.js';
import { specialistParameters } from '../../evaluation/inference-cost.js';
import {
  compareRivals,
  type EnsemblePredictions,
  type RivalsReport,
} from '../../evaluation/rivals/compare-rivals.js';
import { neighbourConstants, transposedUnits } from '../../evaluation/rivals/neighbours.js';
import { mostNeighbourBytes, neighbourBytes } from '../../evaluation/rivals/rival.js';
import { rivalsSchema } from '../../evaluation/rivals/rivals-schema.js';
import { firstClass } from '../../math/rank.js';
import { hasOriginal, headTensors, readOriginal } from '../../models/checkpoint.js';
import type { Classifier } from '../../models/classifier.js';
import {
  type FeatureScale,
  plainLayer,
  scaleOf,
  standardise,
  standardisedLayer,
} from '../../models/feature-scale.js';
import { type Network, networkValues } from '../../models/network.js';
import { cutNetwork } from '../../models/network-backbone.js';
import { loadOriginal } from '../../models/network-classifier.js';
import { forwardFlops } from '../../models/network-definition.js';
import type { NeighbourHead } from '../../models/onnx/neighbour-head.js';
import { type HostTensor, readSafetensors, writeSafetensors } from '../../models/safetensors.js';
import {
  classesInPlay,
  eachOfHead,
  type FeatureSet,
  type Head,
  type HeadContext,
} from '../../training/heads/fit-head.js';
import type { StageContext } from '../stage.js';
import { metricsOf } from '../stage-metrics.js';
import { viewsOfDataset } from '../views.js';
import {
  expectTrainable,
  headFrom,
  readFeaturesOf,
  readTrainingViews,
  viewsInMemory,
} from './feature-sets.js';

const rivalsFile = 'rivals.json';
const headsFolder = 'heads';
const neighboursFile = 'neighbours.safetensors';
const mostFitted = 20_000; // validation images, and bystanders, that numbers are chosen on
const mostTested = 50_000;
const noteworthyBytes = 64e6; // of training features that are kept for a file: so large ones are announced
const boundWithoutHarm = 0.005; // where the ensemble was calibrated without a bound

/** Compares the ensemble with what a user could do instead, on the same features of the same images. */
export async function measureRivals(context: StageContext): Promise<RivalsReport> {
  const { settings, directory, workspace, log, signal } = context;
  const dataset = await openDataset(context.input('dataset'));
  const { splits, image, classes } = dataset;
  const bystanders = await openBystanders(context.input('dataset'));
  const key = await firstClassesKey(workspace);
  const ensemble = await loadNetworkEnsemble(workspace, { backend: context.backend, store: context.store });
  const { generalist } = ensemble;
  const { operations, definition } = generalist;
  context.usesBackend(operations.backend);
  const isPictured = Uint8Array.from(await countLabels(splits.train, classes.length), (images) =>
    Number(images > 0),
  );
  const { backbone, head } = cutNetwork(generalist, 'head');
  let original: Classifier | undefined;
  try {
    expectTrainable('rivals train', backbone.width, head.classes, 'compare them on a smaller model');
    const shared = {
      folder: join(directory, 'features'),
      views: viewsInMemory('rivals are', viewsOfDataset(settings, dataset, bystanders), {
        dataset,
        backbone,
        advice: 'compare them on fewer images, in a workspace of their own',
        log,
      }),
    };
    const train = await readTrainingViews(
      shared,
      { backbone, dataset, seed: settings.seed },
      { log, signal },
    );
    const scale = scaleOf(train);
    standardise(train, scale);
    const featuresOf = async (split: Split, shape: ImageShape, most: number) => {
      const set = await readFeaturesOf(backbone, split, { shape, most, signal });
      standardise(set, scale);
      return set;
    };
    const own = await originalHead(context.input('generalist'), generalist);
    const validation = await featuresOf(splits.validation, image, mostFitted);
    const test = await featuresOf(splits.test, image, mostTested);
    assertSome(validation, 'validation');
    assertSome(test, 'test');
    const rest = bystanders && {
      description: bystanders.description,
      fit: await featuresOf(bystanders.bound, bystanders.dataset.image, mostFitted),
      test: await featuresOf(bystanders.test, bystanders.dataset.image, mostTested),
    };
    original = await loadOriginal(context.input('generalist'), generalist);
    const firstOf = (images: JudgingImages, { rows }: FeatureSet) =>
      storedFirstClasses({ ensemble, original }, images, { key, store: context.store, most: rows, signal });
    const onTest = await firstOf({ part: 'test', split: splits.test, image }, test);
    const onOthers = bystanders && rest && (await firstOf(judgingBystanders(bystanders, 'test'), rest.test));
    const trainedOn = {
      operations,
      head: standardisedLayer(own, scale),
      train,
      validation,
      imagesPerEpoch: Math.ceil(train.rows / shared.views),
      isPictured,
      epochs: settings.rivals.epochs,
      seed: settings.seed,
      signal,
    };
    const rivals = { ...trainedOn, inPlay: await classesInPlay(trainedOn) };
    const others = rest && {
      ...rest,
      fit: await withFirstClasses(rest.fit, rivals),
      test: await withFirstClasses(rest.test, rivals),
    };
    const kept = ensemble.settings.specialists.filter((one) => one.kept).length;
    const manifest = await readManifest(context.input('specialists'));
    const ofGeneralist = await readManifest(context.input('generalist'));
    const refit = metricsOf('generalist', ofGeneralist.metrics)?.imported?.refit;
    const predictions: EnsemblePredictions = {
      test: onTest.after,
      bystanders: onOthers?.after,
      what: `the ensemble of this workspace: rule ${ensemble.settings.rule}, ${count(kept)} of ${count(ensemble.specialists.length)} specialists`,
      cost: {
        flops: forwardFlops(definition, { from: 'head' }) + meanOf(onTest.specialistFlops),
        parameters: specialistParameters(ensemble) + (refit ? (own.width + 1) * own.classes : 0),
        trainingSeconds: numberOf(manifest.metrics.trainingSeconds) + (refit?.seconds ?? 0),
        trainingFlops: numberOf(manifest.metrics.trainingFlops) + (refit?.flops ?? 0),
      },
    };
    const bound = boundOf(ensemble) ?? boundWithoutHarm;
    const report = await compareRivals(
      rivals,
      {
        test,
        bystanders: others,
        ensemble: predictions,
        bound,
        isImported: generalist.backbone !== undefined,
        canRefit: canRefit(ensemble, context.input('generalist')),
        keep: (name, one) =>
          writeHead(join(directory, headsFolder), name, {
            ...plainLayer(one, scale),
            ...(one.hidden && { hidden: plainLayer(one.hidden, scale) }),
          }),
      },
      log,
    );
    const stored = neighbourBytes(train.rows, train.width);
    if (generalist.backbone && stored <= mostNeighbourBytes) {
      const folder = join(directory, headsFolder);
      await writeNeighbours(folder, train, { scale, isPictured });
      if (stored > noteworthyBytes)
        log.info(
          `${byteSize(stored)} of training features in ${folder}, for kd-spec export --refit neighbours`,
        );
    }
    await writeFile(join(directory, rivalsFile), `${JSON.stringify(report, null, 2)}\n`);
    await rm(shared.folder, { recursive: true, force: true });
    return report;
  } finally {
    original?.dispose();
    ensemble.dispose();
  }
}

/** Whether the specialists stand on an imported model as it came, which was not patched before. */
function canRefit({ generalist }: NetworkEnsemble, folder: string): boolean {
  const { backbone } = generalist;
  return backbone !== undefined && backbone.fusedBefore === undefined && !hasOriginal(folder);
}

/** The last layer of the model as it came, which rivals begin with, whatever the specialists stand on. */
async function originalHead(folder: string, generalist: Network): Promise<Head> {
  const { definition } = generalist;
  return headFrom((await readOriginal(folder, definition)) ?? (await networkValues(generalist)), definition);
}

async function writeHead(folder: string, name: string, { hidden, ...head }: Head): Promise<void> {
  await mkdir(folder, { recursive: true });
  const units = hidden?.bias.length ?? 0;
  const tensors = new Map(headTensors({ ...head, width: head.width + units }));
  if (hidden) {
    tensors.set('hidden.weights', { shape: [head.width, units], values: hidden.weights });
    tensors.set('hidden.bias', { shape: [units], values: hidden.bias });
  }
  await writeSafetensors(join(folder, `${name}.safetensors`), tensors);
}

/** Writes what neighbours are sought among: 4 bytes for each feature of each training image, or view of one. */
async function writeNeighbours(
  folder: string,
  train: FeatureSet,
  { scale, isPictured }: { readonly scale: FeatureScale; readonly isPictured: Uint8Array },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { rows, width, labels } = train;
  const tensors = new Map<string, HostTensor>([
    ['neighbours.units', { shape: [width, rows], values: transposedUnits(train) }],
    ['neighbours.labels', { shape: [rows], values: labels }],
    ['scale.mean', { shape: [width], values: scale.mean }],
    ['scale.deviation', { shape: [width], values: scale.deviation }],
    ['classes.pictured', { shape: [isPictured.length], values: Int32Array.from(isPictured) }],
  ]);
  await writeSafetensors(join(folder, neighboursFile), tensors);
}

/**
 * The neighbours of a comparison with the numbers that it chose, over the classes of the data set.
 *
 * @throws KdSpecError `not-found` where they were not kept, `option-invalid` where they are too large for a file or
 * nothing of them is within the bound on harm
 */
export async function readRivalNeighbours(directory: string): Promise<NeighbourHead> {
  const report = await readRivals(directory);
  const path = join(directory, headsFolder, neighboursFile);
  const figures = chosenFigures(report, 'neighbours');
  if (!existsSync(path)) {
    const bytes = neighbourBytes(report.trainingRows, report.features);
    if (bytes <= mostNeighbourBytes) throw notKept('training features', path);
    throw new KdSpecError(
      'option-invalid',
      `neighbours: the features of ${count(report.trainingRows)} training images, or views of them, are ` +
        `${byteSize(bytes)}, and kd-spec stores at most ${byteSize(mostNeighbourBytes)} for a file: compare rivals on ` +
        'fewer images or views, in a workspace of their own, or choose another rival',
    );
  }
  const tensors = await readSafetensors(path);
  const [units, mean, deviation] = ['neighbours.units', 'scale.mean', 'scale.deviation'].map(
    (name) => tensors.get(name)?.values,
  );
  const [labels, pictured] = ['neighbours.labels', 'classes.pictured'].map(
    (name) => tensors.get(name)?.values,
  );
  const { neighbours, share, shift } = figures?.settings ?? {};
  if (
    units instanceof Float32Array &&
    mean instanceof Float32Array &&
    deviation instanceof Float32Array &&
    labels instanceof Int32Array &&
    pictured instanceof Int32Array &&
    units.length === mean.length * labels.length &&
    deviation.length === mean.length &&
    pictured.length === report.classes &&
    [neighbours, share, shift].every(Number.isFinite)
  ) {
    const isPictured = Uint8Array.from(pictured);
    const scale = { mean, deviation };
    return { units, labels, scale, isPictured, neighbours, share, shift, ...neighbourConstants, blank: null };
  }
  throw new KdSpecError(
    'artefact-corrupt',
    `${path}: expected the training features of a comparison: run kd-spec rivals again`,
  );
}

/**
 * What a rival does with the numbers that were chosen for it: within the bound on harm, where there are bystanders.
 *
 * @throws KdSpecError `option-invalid` where nothing is within it
 */
export function chosenFigures({ rivals, bystanders, bound }: RivalsReport, name: string) {
  const rival = rivals.find((one) => one.name === name);
  if (bystanders === null) return rival?.best;
  if (rival?.bounded !== null || bound === null) return rival?.bounded ?? undefined;
  throw new KdSpecError(
    'option-invalid',
    `${name}: nothing that was tried is within the bound on harm of ${shortPercent(bound)}: choose another rival, or ` +
      'allow more (kd-spec rivals --harm SHARE, which calibrates the specialists for it, too) and repeat this command',
  );
}

const notKept = (what: string, path: string) =>
  new KdSpecError('not-found', `no ${what} at ${path}: run kd-spec rivals --no-resume`);

/**
 * The head of a rival, as the comparison chose its numbers, on features as they are.
 *
 * @throws KdSpecError `not-found` where it was not kept, with the reason
 */
export async function readRivalHead(directory: string, name: string): Promise<Head> {
  const path = join(directory, headsFolder, `${name}.safetensors`);
  chosenFigures(await readRivals(directory), name);
  if (!existsSync(path)) throw notKept(`head of ${name}`, path);
  const tensors = await readSafetensors(path);
  const damaged = () =>
    new KdSpecError('artefact-corrupt', `${path}: expected the weights of a head: run kd-spec rivals again`);
  const layerOf = (part: string) => {
    const [weights, bias] = ['weights', 'bias'].map((one) => tensors.get(`${part}.${one}`));
    if (
      weights?.values instanceof Float32Array &&
      bias?.values instanceof Float32Array &&
      weights.values.length === weights.shape[0] * bias.values.length
    )
      return { rows: weights.shape[0], weights: weights.values, bias: bias.values };
    throw damaged();
  };
  const { rows, ...layer } = layerOf('head');
  const hidden = tensors.has('hidden.weights') ? layerOf('hidden') : undefined;
  if (hidden && hidden.rows + hidden.bias.length !== rows) throw damaged();
  return {
    ...layer,
    width: hidden?.rows ?? rows,
    classes: layer.bias.length,
    ...(hidden && { hidden: { weights: hidden.weights, bias: hidden.bias } }),
  };
}

/** The comparison that a finished stage left. */
export async function readRivals(directory: string): Promise<RivalsReport> {
  const path = join(directory, rivalsFile);
  const text = await withFileErrors(path, () => readFile(path, 'utf8'));
  return parseJson(text, path, rivalsSchema, {
    code: 'artefact-corrupt',
    advice: 'run kd-spec rivals again',
  });
}

const meanOf = (values: Float32Array) =>
  values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length);

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** The bound under which the ensemble was calibrated, where there was one. */
function boundOf({ settings }: NetworkEnsemble): number | undefined {
  const seen = z.object({ bystanders: z.object({ bound: z.number().nullable() }) }).safeParse(settings);
  return seen.data?.bystanders.bound ?? undefined;
}

function assertSome({ rows }: FeatureSet, split: string): void {
  if (rows > 0) return;
  throw new KdSpecError(
    'dataset-invalid',
    `rivals are compared on images of validation and test, and there are none for ${split}: import the data set again ` +
      'with some (--validation-fraction, --test-fraction)',
  );
}

/** An image without a label counts as the model's first class: any change is harm. */
async function withFirstClasses(set: FeatureSet, context: HeadContext): Promise<FeatureSet> {
  const { classes } = context.head;
  if (set.labels.every((label) => label < classes)) return set;
  const labels = set.labels.slice();
  await eachOfHead(context, set, ({ start, logits }) => {
    for (let at = 0, row = start; at < logits.length; at += classes, row++)
      if (labels[row] >= classes) labels[row] = firstClass(logits.subarray(at, at + classes));
  });
  return { ...set, labels };
}
