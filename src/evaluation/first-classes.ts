import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findManifest } from '../core/artefact.js';
import { KdSpecError } from '../core/errors.js';
import { packageVersion } from '../core/package.js';
import { imageBatches } from '../data/batches.js';
import type { Bystanders } from '../data/bystanders.js';
import type { Split } from '../data/dataset.js';
import type { ImageShape } from '../data/source.js';
import type { NetworkEnsemble } from '../ensemble/ensemble.js';
import { firstTrainedPart } from '../ensemble/specialist/specialist.js';
import { firstClass } from '../math/rank.js';
import { batchSizeFor, type Classifier, rowOf } from '../models/classifier.js';
import { forwardFlops } from '../models/network-definition.js';
import { readSafetensors, writeSafetensors } from '../models/safetensors.js';

// A patch, its rivals and its report judge the same ensemble by the same images, and most of what they ask is which class
// comes first. Of very many classes that takes as long as a rival, so it is asked once for a workspace.

const mostAtOnce = 128; // images: an imported model takes seconds for more
const madeOf = ['dataset', 'generalist', 'specialists', 'ensemble'] as const;

/** What is judged: an ensemble, and the imported model as it was, where its generalist has another last layer. */
export interface Judged {
  readonly ensemble: Pick<NetworkEnsemble, 'classes' | 'specialists' | 'trace'>;
  readonly original?: Classifier | undefined;
}

/** Images that judge an ensemble. */
export interface JudgingImages {
  /** In the data set of a workspace, for the name of a file: `test`. */
  readonly part: string;
  readonly split: Split;
  readonly image: ImageShape;
}

/** Bystanders as images that judge: those for the test, or those that bound the harm. */
export function judgingBystanders(bystanders: Bystanders, part: 'test' | 'bound'): JudgingImages {
  return { part: `bystanders-${part}`, split: bystanders[part], image: bystanders.dataset.image };
}

/** The most probable classes of images, in their order. */
export interface FirstClasses {
  /** (images). */
  readonly labels: Int32Array;
  /** (images), of the model as it was. */
  readonly before: Int32Array;
  /** (images), of the ensemble. */
  readonly after: Int32Array;
  /** (images), multiplications and additions of the specialists that took part. */
  readonly specialistFlops: Float32Array;
}

interface FirstClassOptions {
  /** The first images of the split alone. */
  readonly most?: number;
  readonly signal: AbortSignal;
  /** Called with the number of images that are done, after each batch. */
  readonly update?: (done: number) => void;
}

/**
 * Finds the first classes of images, before and after.
 *
 * @throws KdSpecError `interrupted` between two batches
 *
 * Cost: a prediction of generalist and ensemble for each image.
 */
export async function firstClassesOf(
  { ensemble, original }: Judged,
  { split, image }: JudgingImages,
  { most = split.rows, signal, update = () => {} }: FirstClassOptions,
): Promise<FirstClasses> {
  const classes = ensemble.classes.length;
  const total = Math.min(split.rows, most);
  const costs = specialistCosts(ensemble.specialists);
  const batchSize = Math.min(mostAtOnce, batchSizeFor(classes));
  const out = new Float32Array(batchSize * classes);
  const found = {
    labels: new Int32Array(total),
    before: new Int32Array(total),
    after: new Int32Array(total),
    specialistFlops: new Float32Array(total),
  };
  let done = 0;
  for await (const batch of imageBatches(split, image, { batchSize })) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${done} predictions`);
    const originals = await original?.probabilities(batch);
    const traces = await ensemble.trace(batch, { out });
    for (const [row, trace] of traces.slice(0, total - done).entries()) {
      found.labels[done] = batch.labels[row];
      found.before[done] = firstClass(originals ? rowOf(originals, row, classes) : trace.generalist);
      found.after[done] = firstClass(trace.ensemble);
      for (const { position } of trace.specialists) found.specialistFlops[done] += costs[position];
      done++;
    }
    update(done);
    if (done >= total) break;
  }
  return found;
}

/** What the ensemble of a workspace came of: where any of it is made again, it is another. */
export async function ensembleKey(workspace: string): Promise<string> {
  const key = createHash('sha256');
  for (const stage of madeOf) {
    const made = await findManifest(join(workspace, stage));
    key.update(JSON.stringify([made?.digest, made?.inputs]));
  }
  return key.digest('hex').slice(0, 16);
}

/**
 * What the first classes of a workspace depend on, to be read before its ensemble is loaded: what is made again meanwhile is
 * another.
 */
export async function firstClassesKey(workspace: string): Promise<string> {
  return createHash('sha256')
    .update(packageVersion())
    .update(await ensembleKey(workspace))
    .digest('hex')
    .slice(0, 16);
}

/**
 * {@link firstClassesOf} the ensemble of a workspace, which are kept there until something that they came of is made
 * again: who asks next computes nothing.
 *
 * @param options.key of the ensemble, see {@link firstClassesKey}
 * @param options.store the folder that keeps them; it may be deleted at any time, and may be one that cannot be written
 * @throws KdSpecError as `firstClassesOf`
 */
export async function storedFirstClasses(
  judged: Judged & { readonly ensemble: Pick<NetworkEnsemble, 'generalist'> },
  images: JudgingImages,
  { key, store, ...options }: FirstClassOptions & { readonly key: string; readonly store: string },
): Promise<FirstClasses> {
  const { part, split } = images;
  const total = Math.min(split.rows, options.most ?? split.rows);
  const { operations } = judged.ensemble.generalist;
  const prefix = `first-classes-${part}-`;
  const name = `${prefix}${operations.backend}-${key}.safetensors`;
  const kept = await readFirstClasses(join(store, name));
  if (kept && kept.labels.length >= total) {
    options.update?.(total);
    return firstOf(kept, total);
  }
  const found = await firstClassesOf(judged, images, options);
  await keep(found, store, { name, prefix }).catch(() => {}); // it only saves time
  return found;
}

function firstOf({ labels, before, after, specialistFlops }: FirstClasses, rows: number): FirstClasses {
  return {
    labels: labels.subarray(0, rows),
    before: before.subarray(0, rows),
    after: after.subarray(0, rows),
    specialistFlops: specialistFlops.subarray(0, rows),
  };
}

/** Writes first classes in place of all others of their part. */
async function keep(
  found: FirstClasses,
  store: string,
  { name, prefix }: { readonly name: string; readonly prefix: string },
): Promise<void> {
  await mkdir(store, { recursive: true });
  const shape = [found.labels.length];
  const tensors = Object.entries(found).map(([of, values]) => [of, { shape, values }] as const);
  const partial = join(store, `${name}.${process.pid}.partial`);
  await writeSafetensors(partial, new Map(tensors));
  await rename(partial, join(store, name));
  for (const entry of await readdir(store)) {
    const isOther = entry.startsWith(prefix) && entry.endsWith('.safetensors') && entry !== name;
    if (isOther) await rm(join(store, entry), { force: true });
  }
}

/** What was kept, where it is whole. */
async function readFirstClasses(path: string): Promise<FirstClasses | undefined> {
  const tensors = await readSafetensors(path).catch(() => undefined);
  const [labels, before, after, flops] = ['labels', 'before', 'after', 'specialistFlops'].map(
    (name) => tensors?.get(name)?.values,
  );
  if (
    labels instanceof Int32Array &&
    before instanceof Int32Array &&
    after instanceof Int32Array &&
    flops instanceof Float32Array
  )
    return { labels, before, after, specialistFlops: flops };
  return undefined;
}

/** The first classes that another classifier finds for the same images. */
export async function firstClassesOfOne(
  classifier: Classifier,
  { split, image }: JudgingImages,
  { signal, update = () => {} }: Omit<FirstClassOptions, 'most'>,
): Promise<Int32Array> {
  const classes = classifier.classes.length;
  const found = new Int32Array(split.rows);
  let done = 0;
  const batchSize = Math.min(mostAtOnce, batchSizeFor(classes));
  for await (const batch of imageBatches(split, image, { batchSize })) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${done} predictions`);
    const probabilities = await classifier.probabilities(batch);
    for (let row = 0; row < batch.count; row++)
      found[done++] = firstClass(rowOf(probabilities, row, classes));
    update(done);
  }
  return found;
}

/** Multiplications and additions of each specialist for an image. */
export function specialistCosts(specialists: NetworkEnsemble['specialists']): readonly number[] {
  return specialists.map(({ config }) =>
    forwardFlops(config.network, { from: firstTrainedPart[config.retrain] }),
  );
}
