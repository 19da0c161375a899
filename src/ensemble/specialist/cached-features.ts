import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { sealDamage, writeSeal } from '../../core/sealed-folder.js';
import { type FeatureRows, openFeatureRows } from '../../data/feature-rows.js';
import {
  createFeatureWriter,
  type Features,
  type FeatureWriter,
  readFeatures,
} from '../../data/feature-shards.js';
import { readPredictions } from '../../data/predictions.js';
import { csrRow } from '../../math/csr.js';
import type { TrainingBatch } from '../../training/train.js';
import type { SpecialistView } from './examples.js';
import { endless } from './examples.js';
import {
  drawingRatio,
  type OutsiderMasses,
  type SharedFeatures,
  systematicSample,
  viewFeatures,
  viewPredictions,
} from './shared-features.js';
import { fullTeacher, softTeacher, type TargetMaker, type Teaching } from './soft-targets.js';

/** The folder in which a specialist's cached features lie while it trains. */
export function featuresFolder(directory: string): string {
  return join(directory, 'features');
}

const batchRows = 256; // read and written together

/**
 * Takes from the features that all specialists share those that one specialist trains on, unless that is done.
 *
 * `special` gets every view of every special example, more than once where they would not fill a batch; `others` a
 * sample of the views of all other examples, uniform or by the generalist's mass on the subset. With `soft` each row is
 * followed by what it is taught, with `anchor` by its anchor. Both are written to Arrow shards beside their place until
 * they are whole.
 *
 * @param folder see {@link featuresFolder}
 * @param options.leastSpecial rows of special examples, at least
 * @param options.others how many rows of other examples are drawn
 * @param options.masses by which they are drawn; none: uniformly
 * @param options.soft makes of the generalist's prediction what a row is taught; none: labels alone
 * @param options.anchor of an anchored dustbin; none: it has a row of its own
 * @param options.signal stops it; it is then begun again by the next sitting
 * @throws KdSpecError `interrupted`, `disk-full`
 *
 * Cost: of the shared features, all labels and those rows are read that are taken.
 */
export async function cacheFeatures(
  folder: string,
  shared: SharedFeatures,
  view: SpecialistView,
  {
    leastSpecial,
    others: wanted,
    masses,
    soft,
    anchor,
    signal,
  }: {
    readonly leastSpecial: number;
    readonly others: number;
    readonly masses: OutsiderMasses | undefined;
    readonly soft?: TargetMaker | undefined;
    readonly anchor?: AnchorMaker | undefined;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  // What an earlier sitting took counts if every byte of it is as it was written.
  if ((await sealDamage(folder)) === undefined) return;
  await rm(folder, { recursive: true, force: true });
  const partial = `${folder}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const copies = wanted / Math.max(1, view.otherExamples * shared.views); // of an outsider, on average
  const draw = systematicSample(createRandom(view.seed, 'outsiders').uniform());
  const specialCopies = Math.ceil(leastSpecial / (view.specialExamples * shared.views));
  let predictions: ReturnType<typeof predictionsOf> | undefined;
  let writers: Writers | undefined;
  try {
    for (let index = 0; index < shared.views; index++) {
      using features = await openFeatureRows(viewFeatures(shared, index));
      const width = features.width + (soft?.width ?? 0) + (anchor ? 1 : 0);
      writers ??= {
        special: await createFeatureWriter(join(partial, 'special'), { width }),
        others: await createFeatureWriter(join(partial, 'others'), { width }),
      };
      const times = features.labels.map((label, row) =>
        view.isSpecial(label)
          ? Math.max(1, specialCopies)
          : draw(copies * drawingRatio(masses?.masses[index][row] ?? 0, masses)),
      );
      predictions = soft && predictionsOf(shared, index);
      const teach = soft && predictions && teaching(soft, predictions, features.labels);
      await copyRows(features, times, writers, { width, isSpecial: view.isSpecial, teach, anchor, signal });
      await predictions?.return(); // closes its file: it has been read to its last row, not to its end
    }
    const shards = {
      special: (await writers?.special.close()) ?? [],
      others: (await writers?.others.close()) ?? [],
    };
    const files = Object.entries(shards).flatMap(([name, records]) =>
      records.map(({ file, bytes, sha256 }) => ({ path: `${name}/${file}`, bytes, sha256 })),
    );
    await writeSeal(partial, files);
  } catch (error) {
    await writers?.special.abort();
    await writers?.others.abort();
    throw error;
  } finally {
    await predictions?.return();
  }
  await rename(partial, folder);
}

/** Special examples and all others. */
type Writers = Readonly<Record<'special' | 'others', FeatureWriter>>;

/** What a row of features is taught; rows are read in ascending order. */
type Teach = (row: number) => Promise<Float32Array>;

/**
 * What an anchored dustbin's logit is raised by for some rows, (rows), in nats: see `dustbinAnchor`.
 *
 * @param features (rows, width)
 */
export type AnchorMaker = (features: Float32Array, rows: number) => Promise<Float32Array>;

/**
 * Copies rows of a view to where they belong, in order.
 *
 * @param times (rows), how often each is copied
 * @param options.width of what is written: the features, behind them what `teach` returns, and last the anchor
 */
async function copyRows(
  features: FeatureRows,
  times: Int32Array,
  writers: Writers,
  {
    width,
    isSpecial,
    teach,
    anchor,
    signal,
  }: {
    readonly width: number;
    readonly isSpecial: SpecialistView['isSpecial'];
    readonly teach: Teach | undefined;
    readonly anchor: AnchorMaker | undefined;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  let buffer = new Float32Array(0); // (rows, width), for all that is written
  const wanted = Int32Array.from(times.keys()).filter((row) => times[row] > 0);
  for (let start = 0; start < wanted.length; start += batchRows) {
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before the features were cached');
    const drawn = { special: [] as number[], others: [] as number[] };
    const targets = new Map<number, Float32Array>();
    for (const row of wanted.subarray(start, start + batchRows)) {
      const half = isSpecial(features.labels[row]) ? drawn.special : drawn.others;
      for (let left = times[row]; left > 0; left--) half.push(row);
      if (teach) targets.set(row, await teach(row));
    }
    for (const half of ['special', 'others'] as const) {
      const taken = drawn[half];
      if (buffer.length < taken.length * width) buffer = new Float32Array(taken.length * width);
      features.read(taken, buffer, width);
      for (const [place, row] of taken.entries()) {
        const target = targets.get(row);
        if (target) buffer.set(target, place * width + features.width);
      }
      if (anchor && taken.length > 0) {
        const own = new Float32Array(taken.length * features.width);
        features.read(taken, own);
        const anchors = await anchor(own, taken.length);
        for (const [place, value] of anchors.entries()) buffer[(place + 1) * width - 1] = value;
      }
      const labels = Int32Array.from(taken, (row) => features.labels[row]);
      await writers[half].write({ features: buffer.subarray(0, taken.length * width), labels });
    }
  }
}

function teaching(
  soft: TargetMaker,
  predictions: ReturnType<typeof predictionsOf>,
  labels: Int32Array,
): Teach {
  let last = -1; // the row of the last prediction that was read
  return async (row) => {
    let next = await predictions.next();
    for (last++; last < row; last++) next = await predictions.next();
    assert(!next.done, 'there are as many predictions as features');
    return soft.target(next.value.indices, next.value.values, labels[row]);
  };
}

/** The stored predictions of a view, row by row. */
async function* predictionsOf(
  shared: SharedFeatures,
  view: number,
): AsyncGenerator<{ readonly indices: Int32Array; readonly values: Float32Array }, void> {
  const predictions = await readPredictions(viewPredictions(shared, view));
  for await (const { probabilities } of predictions.rows()) {
    for (let row = 0; row < probabilities.rows; row++) yield csrRow(probabilities, row);
  }
}

export interface CachedFeatureParameters {
  /** Where the cached features lie. */
  readonly folder: string;
  readonly batchSize: number;
  readonly specialPerBatch: number;
  readonly seed: number;
  /** What follows each row of features, if anything does. */
  readonly teaching?: Teaching | undefined;
  /** Whether an anchor stands behind it. */
  readonly isAnchored?: boolean;
}

/** A part of a stream of batches. */
export interface BatchRange {
  /** Names the random order. */
  readonly purpose: string;
  /** At which it ends. */
  readonly batches: number;
  /** Consumed before. */
  readonly skipBatches: number;
}

/** The cached features of a specialist. */
export interface CachedFeatureSource {
  /** Batches until the first row comes again. */
  readonly batchesPerPass: number;
  /**
   * Batches mixed as `specialistBatches` mixes images; labels are those of the data set. Each is good until the next
   * is drawn, which may be written into the same memory.
   */
  batches(range: BatchRange): AsyncGenerator<TrainingBatch>;
}

/**
 * Opens the cached features of a specialist.
 *
 * They are streamed from Arrow shards, in another order each pass. To make a batch is to copy its rows, which costs
 * less than to take it over from a thread.
 */
export async function openCachedFeatures(parameters: CachedFeatureParameters): Promise<CachedFeatureSource> {
  const special = await readFeatures(join(parameters.folder, 'special'));
  const { batchSize, specialPerBatch } = parameters;
  const hasOthers = specialPerBatch < batchSize;
  const others = hasOthers ? await readFeatures(join(parameters.folder, 'others')) : undefined;
  const passes = special.rows / specialPerBatch;
  return {
    batchesPerPass: Math.floor(
      others ? Math.min(passes, others.rows / (batchSize - specialPerBatch)) : passes,
    ),
    batches: (range) => featureBatches({ special, others }, parameters, range),
  };
}

async function* featureBatches(
  {
    special: ownFeatures,
    others: otherFeatures,
  }: { readonly special: Features; readonly others: Features | undefined },
  { batchSize, specialPerBatch, seed, teaching, isAnchored = false }: CachedFeatureParameters,
  { purpose, batches, skipBatches }: BatchRange,
): AsyncGenerator<TrainingBatch> {
  const { width } = ownFeatures;
  const inputs = new Float32Array(batchSize * width); // (batch, width)
  const labels = new Int32Array(batchSize);
  const stream = (features: Features, name: 'special' | 'others', start: number, end: number) => {
    const rows = {
      features: inputs.subarray(start * width, end * width),
      labels: labels.subarray(start, end),
    };
    const pass = (index: number, skip: number) =>
      features.batches({
        batchSize: end - start,
        shuffleSeed: [seed, purpose, name, index],
        skipBatches: skip,
        dropLast: true,
        into: rows,
      });
    return endless(pass, Math.floor(features.rows / (end - start)), skipBatches);
  };
  const special = stream(ownFeatures, 'special', 0, specialPerBatch);
  const others = otherFeatures && stream(otherFeatures, 'others', specialPerBatch, batchSize);
  try {
    for (let batch = skipBatches; batch < batches; batch++) {
      await special.next();
      await others?.next();
      if (teaching === undefined && !isAnchored) yield { inputs, shape: [batchSize, width], labels };
      else yield apart(inputs, labels, { teaching, isAnchored });
    }
  } finally {
    await Promise.all([closed(special), others && closed(others)]);
  }
}

/** Takes rows of features, targets and anchors, (batch, width + what follows), apart. */
function apart(
  rows: Float32Array,
  labels: Int32Array,
  { teaching, isAnchored }: { readonly teaching: Teaching | undefined; readonly isAnchored: boolean },
): TrainingBatch {
  const batch = labels.length;
  const whole = rows.length / batch;
  const width = whole - (teaching?.width ?? 0) - Number(isAnchored);
  const columns = (start: number, count: number) => {
    const part = new Float32Array(batch * count); // (batch, count)
    for (let row = 0; row < batch; row++) {
      const from = row * whole + start;
      part.set(rows.subarray(from, from + count), row * count);
    }
    return part;
  };
  const targets = teaching && columns(width, teaching.width);
  return {
    inputs: columns(0, width),
    shape: [batch, width],
    labels,
    ...(targets && {
      teacher: teaching.head === 'full' ? fullTeacher(targets, teaching) : softTeacher(targets, teaching),
    }),
    ...(isAnchored && { lastOffsets: columns(whole - 1, 1) }),
  };
}

/** Ends a stream that is not wanted any more, so that its files are closed. */
async function closed(stream: AsyncIterator<unknown, unknown, undefined>): Promise<void> {
  await stream.return?.();
}
