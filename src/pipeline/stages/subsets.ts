import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { createPause } from '../../core/pause.js';
import { runInThread } from '../../core/thread.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import { type Predictions, readPredictions } from '../../data/predictions.js';
import { collectPredictions } from '../../ensemble/confusion/prediction-rows.js';
import { clusterClasses, type SubsetMaking } from '../../ensemble/subsets/cluster-classes.js';
import type { Subset } from '../../ensemble/subsets/subsets.js';
import { readSubsets, subsetsFileName, writeSubsets } from '../../ensemble/subsets/subsets-file.js';
import type { CsrMatrix } from '../../math/csr.js';
import { readNames } from '../../models/onnx/name-lists.js';
import { writeSafetensors } from '../../models/safetensors.js';
import type { Settings } from '../options.js';
import { clustersOf } from '../outline.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const shownClasses = 8; // class names that the summary shows for each subset

/** Clusters the classes that are confused into subsets, or takes those that are given. */
export async function findSubsets(context: StageContext): Promise<StageResults['subsets']> {
  const { settings, directory, log, signal } = context;
  const { subsets: options } = settings;
  const isOurs = options.predictions === null;
  const dataset = isOurs ? await openDataset(context.input('dataset')) : undefined;
  const predictions = await readPredictions(options.predictions ?? context.input('predictions'), {
    classes: dataset?.classes.length,
  });
  const names = dataset?.classes ?? (await namesGiven(settings.dataset.model.labels, predictions));

  const started = performance.now();
  log.info(`${options.affinity} of ${predictions.rowCount.toLocaleString('en')} predictions`);
  const collected = await collectPredictions(interruptible(predictions.rows(), signal), {
    labels: options.affinity === 'confusion' ? 'required' : 'optional',
  });
  const classes = collected.probabilities.columns;
  const given = options.file === null ? undefined : await subsetsGiven(options.file, classes);
  const labels = given ? undefined : await trainableClasses(context, dataset);
  const readingSeconds = (performance.now() - started) / 1000;
  const { affinity, subsets, summary, inside, seconds } = await runInThread(
    clusterClasses,
    {
      predictions: collected,
      affinity: options.affinity === 'covariance' ? 'covariance' : `${options.confusion}-confusion`,
      distance: options.distance,
      labels,
      making: given
        ? { kind: 'given', subsets: given }
        : howToCluster(options, settings.seed, { classes: labels?.length ?? classes, all: classes }),
    },
    { signal, doing: 'clustering' },
  );

  const path = join(directory, subsetsFileName);
  await writeSubsets(path, { classes, subsets });
  await writeAffinity(join(directory, 'affinity.safetensors'), affinity);
  const { subsets: count, ...ofAll } = summary;
  return {
    subsets: subsetsFileName, // a name and no path: workspaces are moved
    classes,
    count,
    ...ofAll,
    entries: affinity.indices.length,
    seconds: { affinity: readingSeconds + seconds.affinity, clustering: seconds.clustering },
    classesBySubset: subsets.map(({ id, classes: members }, position) => ({
      id,
      size: members.length,
      confusionInside: inside[position],
      mostTypical: members.slice(0, shownClasses).map((label) => names?.[label] ?? String(label)),
    })),
  };
}

/** A stream that ends with KdSpecError `interrupted` soon after the signal aborted, and lets others run meanwhile. */
async function* interruptible<T>(stream: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const pause = createPause(signal, 'reading predictions');
  for await (const item of stream) {
    yield item;
    const turn = pause();
    if (turn) await turn;
  }
}

/**
 * The classes that have training images, ascending. Those without stay with the generalist: a specialist could learn
 * nothing about them, and would take their mass away.
 */
async function trainableClasses(
  { log }: StageContext,
  dataset: Dataset | undefined,
): Promise<Int32Array | undefined> {
  if (dataset === undefined) return undefined;
  const classes = dataset.classes.length;
  const counts = await countLabels(dataset.splits.train, classes);
  const trainable = Int32Array.from(counts.keys()).filter((label) => counts[label] > 0);
  if (trainable.length === classes) return undefined;
  log.info(
    `${trainable.length.toLocaleString('en')} of ${classes.toLocaleString('en')} classes have training images: ` +
      'subsets are made of these',
  );
  return trainable;
}

/** The names of the classes of predictions without a data set, from the file that gives them or from their own. */
async function namesGiven(
  path: string | null,
  { names, classes }: Predictions,
): Promise<readonly string[] | undefined> {
  if (path === null) return names;
  const { names: given } = await readNames(path);
  if (classes === undefined || given.length === classes) return given;
  throw new KdSpecError(
    'predictions-invalid',
    `${path} has ${given.length} class names, the predictions ${classes} classes: give a file with one name for each (--labels FILE)`,
  );
}

async function subsetsGiven(path: string, classes: number): Promise<readonly Subset[]> {
  const given = await readSubsets(path);
  if (given.classes === classes) return given.subsets;
  throw new KdSpecError(
    'subsets-invalid',
    `${path} is for ${given.classes} classes, the predictions for ${classes}: give subsets of these classes`,
  );
}

/** @param counts how many classes are clustered, and how many there are */
function howToCluster(
  options: Settings['subsets'],
  seed: number,
  counts: { readonly classes: number; readonly all: number },
): SubsetMaking {
  const { specialists, size, distance, epochs, balance, maxMass } = options;
  if (specialists !== null && size !== null) {
    return { kind: 'fixed-size', specialists, size, distance, seed, epochs };
  }
  return {
    kind: 'partition',
    clusters: clustersOf(options, counts.classes, counts.all),
    distance,
    seed,
    epochs,
    ...(balance === 'confusion' && { maxMass }),
    ...(options.minSize !== null && { minSize: options.minSize }),
    ...(options.maxSize !== null && { maxSize: options.maxSize }),
  };
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
