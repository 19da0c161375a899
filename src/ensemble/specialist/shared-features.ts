import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { flush } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { derivedSeed } from '../../core/random.js';
import { sealDamage, sealFolder } from '../../core/sealed-folder.js';
import type { Bystanders } from '../../data/bystanders.js';
import type { Dataset } from '../../data/dataset.js';
import { createFeatureWriter } from '../../data/feature-shards.js';
import { createPredictionWriter, readPredictions } from '../../data/predictions.js';
import { createCsrBuilder } from '../../math/csr.js';
import { softmax } from '../../math/softmax.js';
import { keepMass } from '../../math/top-k.js';
import type { Backbone, DenseHead } from '../../models/backbone.js';
import { openBatchesAhead } from '../../training/batches-ahead.js';
import { imageSource } from '../../training/image-batches.js';

/** What all specialists share of what the generalist computes for the training images. */
export interface SharedFeatures {
  /** Where the features lie, a folder a view. */
  readonly folder: string;
  readonly views: number;
}

const batchSize = 128; // images a forward pass
const keptMass = 0.999; // of a prediction
/** Most classes that a prediction lists. */
export const keptClasses = 50;

/** The features of one view: the whole training split and the bystanders that teach, each image augmented once. */
export function viewFeatures({ folder }: SharedFeatures, view: number): string {
  return join(folder, `view-${view}`, 'features');
}

/** The generalist's predictions for the same rows, in the same order. */
export function viewPredictions({ folder }: SharedFeatures, view: number): string {
  return join(folder, `view-${view}`, 'predictions');
}

/**
 * Runs a backbone over the training split, once a view for all specialists together; and over the bystanders that teach,
 * behind it, as examples of what lies outside every subset.
 *
 * What is computed is the features, the input of the first trained part, as Arrow shards in a shuffled order; and, where
 * a head is given, the generalist's most probable classes. A view is sealed and takes its place when it is whole, so
 * that an interrupted run goes on with the next one; one that does not read as it was sealed is made again.
 *
 * @param shared where the features are to lie
 * @param of.backbone of the generalist
 * @param of.head of the generalist, for its predictions; none: only features are kept, which spares its pass
 * @returns seconds of all sittings
 * @throws KdSpecError `interrupted`, `disk-full`
 *
 * Cost: a forward pass of the backbone over every image and view; memory for a few batches.
 */
export async function shareFeatures(
  shared: SharedFeatures,
  {
    backbone,
    head,
    dataset,
    bystanders,
    seed,
  }: {
    readonly backbone: Backbone;
    readonly head?: DenseHead | undefined;
    readonly dataset: Dataset;
    readonly bystanders?: Bystanders | undefined;
    readonly seed: number;
  },
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<number> {
  const rows = dataset.splits.train.rows + (bystanders?.teach.rows ?? 0);
  const progress = log.progress('features of the training images', shared.views * rows);
  const open = ({ directory, splits }: Dataset) =>
    openBatchesAhead(
      imageSource,
      { directory, seed: derivedSeed(seed), purpose: 'features', batchSize },
      { epochs: shared.views, examples: shared.views * splits.train.rows },
    );
  await using training = await open(dataset);
  await using others = bystanders && (await open(bystanders.dataset));
  for (let view = 0; view < shared.views; view++) {
    const place = join(shared.folder, `view-${view}`);
    if ((await sealDamage(place)) === undefined) continue;
    const startedMs = performance.now();
    const partial = join(shared.folder, `view-${view}.partial`);
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const features = await createFeatureWriter(join(partial, 'features'), { width: backbone.width });
    const predictions =
      head && createPredictionWriter(join(partial, 'predictions'), { classes: head.classes });
    try {
      let done = 0;
      for await (const { inputs, shape, labels } of inTurn(
        training.batches(view, 0),
        others?.batches(view, 0),
      )) {
        if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before the features were computed');
        const [count] = shape;
        const values = await backbone.features({ images: inputs, count });
        await features.write({ features: values, labels });
        if (head) {
          const probabilities = sparse(await head.logits(values, count), head.classes);
          await predictions?.write({ probabilities, labels });
        }
        done += count;
        progress.update(view * rows + done);
      }
      await features.close();
      await predictions?.close();
    } catch (error) {
      await Promise.all([features.abort(), predictions?.abort()]);
      throw error;
    }
    await writeFile(join(partial, secondsFile), String((performance.now() - startedMs) / 1000));
    await sealFolder(partial);
    await rm(place, { recursive: true, force: true }); // one that was damaged
    await rename(partial, place);
    await flush(shared.folder);
  }
  progress.finish();
  return secondsOf(shared);
}

async function* inTurn<Item>(
  first: AsyncIterable<Item>,
  second: AsyncIterable<Item> | undefined,
): AsyncGenerator<Item> {
  yield* first;
  if (second) yield* second;
}

const secondsFile = 'seconds.txt';

async function secondsOf({ folder, views }: SharedFeatures): Promise<number> {
  let seconds = 0;
  for (let view = 0; view < views; view++) {
    seconds += Number(await readFile(join(folder, `view-${view}`, secondsFile), 'utf8'));
  }
  return seconds;
}

/** The most probable classes of each row of logits (batch, classes). */
function sparse(logits: Float32Array, classes: number) {
  const kept = createCsrBuilder(classes);
  for (let start = 0; start < logits.length; start += classes) {
    const { indices, values } = keepMass(
      softmax(logits.subarray(start, start + classes)),
      keptMass,
      keptClasses,
    );
    kept.addRow(indices, values, indices.length);
  }
  return kept.finish();
}

/** How outsiders are drawn: the generalist's mass on the subset for each training image, and how much it counts. */
export interface OutsiderMasses {
  /** Share of the outsiders that is drawn in proportion to the mass, in [0, 1]; the rest uniformly. */
  readonly share: number;
  /** For each view, (rows): the mass on the subset; the rows are in the order of the shared features. */
  readonly masses: readonly Float32Array[];
  /** Mean mass over the outsiders of all views, above 0. */
  readonly meanMass: number;
}

const leastMeanMass = 1e-9; // where the generalist sends no outsider into the subset, drawing stays uniform

/**
 * The generalist's mass on a subset, for every view of every training image.
 *
 * @param shared with predictions
 * @param isSpecial whether a class belongs to the subset
 * @param share of the outsiders that is to be drawn by mass
 * @returns undefined where the generalist sends no outsider into the subset
 *
 * Cost: one pass over the stored predictions; 4 bytes a row and view.
 */
export async function outsiderMasses(
  shared: SharedFeatures,
  isSpecial: (label: number) => boolean,
  share: number,
): Promise<OutsiderMasses | undefined> {
  const masses: Float32Array[] = [];
  let sum = 0;
  let outsiders = 0;
  for (let view = 0; view < shared.views; view++) {
    const predictions = await readPredictions(viewPredictions(shared, view));
    const ofView = new Float32Array(predictions.rowCount);
    let row = 0;
    for await (const { probabilities, labels } of predictions.rows()) {
      const { offsets, indices, values, rows } = probabilities;
      for (let i = 0; i < rows; i++, row++) {
        let mass = 0;
        for (let entry = offsets[i]; entry < offsets[i + 1]; entry++) {
          if (isSpecial(indices[entry])) mass += values[entry];
        }
        ofView[row] = mass;
        if (labels === undefined || isSpecial(labels[i])) continue;
        sum += mass;
        outsiders++;
      }
    }
    masses.push(ofView);
  }
  const meanMass = sum / Math.max(1, outsiders);
  return meanMass > leastMeanMass ? { share, masses, meanMass } : undefined;
}

/**
 * Draws a given number of items from a stream, each with its own expected number of copies.
 *
 * Systematic sampling: with expected copies e_1, e_2, ... of sum `total`, and one u uniform in [0, 1), item i comes
 * `floor(e_1 + ... + e_i + u) - floor(e_1 + ... + e_{i-1} + u)` times: floor(e_i) or ceil(e_i), on average e_i.
 *
 * @param uniform u
 * @returns a function that takes the expected copies of the next item and returns how often it comes
 */
export function systematicSample(uniform: number): (expected: number) => number {
  let cumulated = uniform;
  return (expected) => {
    const before = Math.floor(cumulated);
    cumulated += expected;
    return Math.floor(cumulated) - before;
  };
}

/** How often an outsider with a mass is expected relative to uniform drawing: `(1 - share) + share m / mean m`. */
export function drawingRatio(mass: number, masses: OutsiderMasses | undefined): number {
  return masses === undefined ? 1 : 1 - masses.share + (masses.share * mass) / masses.meanMass;
}
