import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import { type Predictions, readPredictions } from '../../data/predictions.js';
import { confusionAffinity, covarianceAffinity } from '../../ensemble/confusion/affinity.js';
import { classColumns } from '../../ensemble/confusion/class-columns.js';
import { confusionInsideEach, summariseSubsets } from '../../ensemble/subsets/subset-summary.js';
import { fixedSizeColumns, partitionColumns, type Subset } from '../../ensemble/subsets/subsets.js';
import { readSubsets, subsetsFileName, writeSubsets } from '../../ensemble/subsets/subsets-file.js';
import { type CsrMatrix, csrSubmatrix } from '../../math/csr.js';
import { writeSafetensors } from '../../models/safetensors.js';
import type { Settings } from '../options.js';
import { defaultClusters } from '../outline.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const shownClasses = 8; // class names that the summary shows for each subset

/** Clusters the classes that are confused into subsets, or takes those that are given. */
export async function findSubsets(context: StageContext): Promise<StageResults['subsets']> {
  const { settings, directory, log } = context;
  const { subsets: options } = settings;
  const isOurs = options.predictions === null;
  const dataset = isOurs ? await openDataset(context.input('dataset')) : undefined;
  const names = dataset?.classes;
  const predictions = await readPredictions(options.predictions ?? context.input('predictions'), {
    classes: names?.length,
  });

  const started = performance.now();
  log.info(`${options.affinity} of ${predictions.rowCount.toLocaleString('en')} predictions`);
  const affinity = await affinityOf(predictions, options);
  const affinitySeconds = (performance.now() - started) / 1000;
  const clusteringStarted = performance.now();
  const columns = classColumns(affinity); // (classes, classes)
  const subsets =
    options.file === null
      ? await clusterTrainable(columns, context, dataset)
      : await subsetsGiven(options.file, affinity.rows);
  const clusteringSeconds = (performance.now() - clusteringStarted) / 1000;

  const path = join(directory, subsetsFileName);
  await writeSubsets(path, { classes: affinity.rows, subsets });
  await writeAffinity(join(directory, 'affinity.safetensors'), affinity);
  const { subsets: count, ...summary } = summariseSubsets(subsets, affinity, {
    distance: options.distance,
    columns,
  });
  const inside = confusionInsideEach(subsets, columns);
  return {
    subsets: subsetsFileName, // a name and no path: workspaces are moved
    classes: affinity.rows,
    count,
    ...summary,
    entries: affinity.indices.length,
    seconds: { affinity: affinitySeconds, clustering: clusteringSeconds },
    classesBySubset: subsets.map(({ id, classes }, position) => ({
      id,
      size: classes.length,
      confusionInside: inside[position],
      mostTypical: classes.slice(0, shownClasses).map((label) => names?.[label] ?? String(label)),
    })),
  };
}

/**
 * Clusters the classes that have training images. Those without stay with the generalist: a specialist could learn
 * nothing about them, and would take their mass away.
 */
async function clusterTrainable(
  columns: CsrMatrix,
  { settings: { subsets: options, seed }, log }: StageContext,
  dataset: Dataset | undefined,
): Promise<readonly Subset[]> {
  if (dataset === undefined) return cluster(columns, options, seed);
  const counts = await countLabels(dataset.splits.train, columns.rows);
  const trainable = Int32Array.from(counts.keys()).filter((label) => counts[label] > 0);
  if (trainable.length === columns.rows) return cluster(columns, options, seed);
  log.info(
    `${trainable.length.toLocaleString('en')} of ${columns.rows.toLocaleString('en')} classes have training images: ` +
      'subsets are made of these',
  );
  return cluster(csrSubmatrix(columns, trainable), options, seed).map(({ id, classes }) => ({
    id,
    classes: classes.map((position) => trainable[position]),
  }));
}

async function subsetsGiven(path: string, classes: number): Promise<readonly Subset[]> {
  const given = await readSubsets(path);
  if (given.classes === classes) return given.subsets;
  throw new KdSpecError(
    'subsets-invalid',
    `${path} is for ${given.classes} classes, the predictions for ${classes}: give subsets of these classes`,
  );
}

function affinityOf(predictions: Predictions, options: Settings['subsets']): Promise<CsrMatrix> {
  return options.affinity === 'covariance'
    ? covarianceAffinity(predictions.rows())
    : confusionAffinity(predictions.rows(), { kind: options.confusion });
}

function cluster(columns: CsrMatrix, options: Settings['subsets'], seed: number): Subset[] {
  const { specialists, size, distance, epochs, balance, maxMass } = options;
  if (specialists !== null && size !== null) {
    return fixedSizeColumns(columns, { specialists, size, distance, seed, epochs });
  }
  const clusters = options.clusters ?? defaultClusters(columns.rows);
  return partitionColumns(columns, {
    clusters,
    distance,
    seed,
    epochs,
    ...(balance === 'confusion' && { maxMass }),
    ...(options.minSize !== null && { minSize: options.minSize }),
    ...(options.maxSize !== null && { maxSize: options.maxSize }),
  });
}

/** The matrix in compressed rows: `scipy.sparse.csr_matrix((values, indices, offsets))` opens it in Python. */
async function writeAffinity(
  path: string,
  { rows, columns, offsets, indices, values }: CsrMatrix,
): Promise<void> {
  const tensors = Object.entries({ offsets, indices, values }).map(
    ([name, array]) => [name, { shape: [array.length], values: array }] as const,
  );
  await writeSafetensors(path, new Map(tensors), { rows: String(rows), columns: String(columns) });
}
