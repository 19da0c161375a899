import { KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { count } from '../../core/quantity-text.js';
import { imageBatches } from '../../data/batches.js';
import type { Dataset, Split } from '../../data/dataset.js';
import { openFeatureRows } from '../../data/feature-rows.js';
import type { ImageShape } from '../../data/source.js';
import { shareFeatures, viewFeatures } from '../../ensemble/specialist/shared-features.js';
import type { Backbone } from '../../models/backbone.js';
import { hiddenFeatures, type NetworkDefinition } from '../../models/network-definition.js';
import type { HostTensor } from '../../models/safetensors.js';
import type { FeatureSet, Head } from '../../training/heads/fit-head.js';

// What heads of all classes are trained on: images as a frozen backbone sees them, in memory.

const featureBytes = 2 ** 30; // of the training images
const mostHeadNumbers = 2 ** 27; // four arrays of so many are in memory while a head is trained

/**
 * Refuses before any feature is computed what no memory would hold.
 *
 * @param what for a person, such as `rivals train`
 */
export function expectTrainable(what: string, width: number, classes: number, advice: string): void {
  if (width * classes <= mostHeadNumbers) return;
  throw new KdSpecError(
    'option-invalid',
    `${what} a head of ${count(width)} inputs and ${count(classes)} classes, and ${count(width * classes)} numbers are ` +
      `more than the ${count(mostHeadNumbers)} that fit into memory with their gradients: ${advice}`,
  );
}

/**
 * How many views of the training images fit into memory, of those that are wanted.
 *
 * @param what for a person, such as `rivals are`
 */
export function viewsInMemory(
  what: string,
  wanted: number,
  {
    dataset,
    backbone,
    advice,
    log,
  }: { readonly dataset: Dataset; readonly backbone: Backbone; readonly advice: string; readonly log: Log },
): number {
  const { rows } = dataset.splits.train;
  const most = Math.floor(featureBytes / (4 * backbone.width * Math.max(1, rows)));
  if (most < 1)
    throw new KdSpecError(
      'option-invalid',
      `${what} trained on the features of all training images in memory, and ${count(rows)} images of ` +
        `${count(backbone.width)} features are more than 1 GiB: ${advice}`,
    );
  if (most < wanted) log.info(`${what} trained on ${most} of ${wanted} views: more do not fit into memory`);
  return Math.min(wanted, most);
}

/**
 * All views of the training images, one after the other.
 *
 * @param folder where they are kept while they are computed, so that an interrupted stage goes on
 */
export async function readTrainingViews(
  shared: { readonly folder: string; readonly views: number },
  {
    backbone,
    dataset,
    seed,
  }: { readonly backbone: Backbone; readonly dataset: Dataset; readonly seed: number },
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<FeatureSet> {
  await shareFeatures(shared, { backbone, dataset, seed }, { log, signal });
  const { width } = backbone;
  const rows = shared.views * dataset.splits.train.rows;
  const whole = { features: new Float32Array(rows * width), labels: new Int32Array(rows), rows, width };
  let row = 0;
  for (let view = 0; view < shared.views; view++) {
    using stored = await openFeatureRows(viewFeatures(shared, view));
    const { labels } = stored;
    const rowsOfView = [...labels.keys()];
    stored.read(rowsOfView, whole.features.subarray(row * width, (row + labels.length) * width));
    whole.labels.set(labels, row);
    row += labels.length;
  }
  return whole;
}

/** The features of the first images of a split, as they are. */
export async function readFeaturesOf(
  backbone: Backbone,
  split: Split,
  {
    shape,
    most,
    signal,
  }: { readonly shape: ImageShape; readonly most: number; readonly signal: AbortSignal },
): Promise<FeatureSet> {
  const { width } = backbone;
  const rows = Math.min(split.rows, most);
  const set = { features: new Float32Array(rows * width), labels: new Int32Array(rows), rows, width };
  let done = 0;
  for await (const batch of imageBatches(split, shape, { batchSize: 128 })) {
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before the features were computed');
    const features = await backbone.features(batch);
    const taken = Math.min(batch.count, rows - done);
    set.features.set(features.subarray(0, taken * width), done * width);
    set.labels.set(batch.labels.subarray(0, taken), done);
    done += taken;
    if (done >= rows) break;
  }
  return set;
}

/** The last layer among the tensors of a network. */
export function headFrom(tensors: ReadonlyMap<string, HostTensor>, definition: NetworkDefinition): Head {
  const width = hiddenFeatures(definition);
  const { outputs: classes, copiesLogits } = definition;
  if (copiesLogits) return copyingHead(width, classes);
  const values = (name: string) => Float32Array.from(tensors.get(name)?.values ?? []);
  return {
    width,
    classes,
    weights: values('head.weights'),
    bias: values('head.bias'),
  };
}

/** The layer whose logits are the last numbers of its input. */
function copyingHead(width: number, classes: number): Head {
  const weights = new Float32Array(width * classes); // (width, classes)
  for (let label = 0; label < classes; label++) weights[(width - classes + label) * classes + label] = 1;
  return { width, classes, weights, bias: new Float32Array(classes) };
}
