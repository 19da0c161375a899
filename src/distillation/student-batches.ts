import { createRandom } from '../core/random.js';
import { type Augment, createAugmenter } from '../data/augmentation.js';
import { batchExamples } from '../data/batches.js';
import type { Example } from '../data/examples.js';
import type { Augmentation, ImageShape } from '../data/source.js';
import type { TeacherTargets } from '../training/distillation-loss.js';
import type { TrainingBatch } from '../training/train.js';
import type { SoftTargetStore } from './soft-target-store.js';
import {
  decoupledTargets,
  fullLogits,
  type SoftTargets,
  standardisedTargets,
  temperedTargets,
} from './soft-targets.js';
import type { StudentObjective } from './student-objective.js';
import type { SelectedRows, TransferSet } from './transfer-set.js';

/**
 * The views of a transfer set: 0 for its images as they are, else so many augmentations of each, drawn once. The
 * teacher predicts every view, and epoch e of a student shows view `e mod views`.
 */
export interface TransferViews {
  readonly count: number;
  readonly augmentation: Augmentation;
  readonly image: ImageShape;
  readonly seed: number;
}

/** Row of the soft targets for view v of image r. */
function softTargetRow(set: TransferSet, view: number, row: number): number {
  return view * set.rows + row;
}

/** Draws one view; undefined leaves images as they are. */
export function viewAugmenter({ count, augmentation, image, seed }: TransferViews, view: number) {
  if (count === 0) return undefined;
  const augment: Augment = createAugmenter(augmentation, image);
  return (pixels: Uint8Array, row: number, out: Float32Array, offset: number) =>
    augment(pixels, createRandom(seed, 'transfer view', view, row), out, offset);
}

/**
 * The batches of one epoch of a student's training, after the first `skip` ones.
 *
 * @param options.softTargets none when the student learns from labels alone
 * @returns whole batches and a last smaller one; always the same for the same seed and epoch
 */
export async function* studentBatches(
  set: TransferSet,
  { isUsed }: SelectedRows,
  {
    softTargets,
    views,
    objective,
    batchSize,
    seed,
    epoch,
    skip,
  }: {
    readonly softTargets: SoftTargetStore | undefined;
    readonly views: TransferViews;
    readonly objective: StudentObjective;
    readonly batchSize: number;
    readonly seed: number;
    readonly epoch: number;
    readonly skip: number;
  },
): AsyncGenerator<TrainingBatch> {
  const view = views.count === 0 ? 0 : epoch % views.count;
  const stream = passedOver(
    used(set.examples({ shuffleSeed: [seed, 'student', 'epoch', epoch] }), isUsed),
    skip * batchSize,
  );
  const { height, width, channels } = views.image;
  const augment = viewAugmenter(views, view);
  for await (const { images, labels, rows } of batchExamples(stream, views.image, { batchSize, augment })) {
    const batch = { inputs: images, shape: [labels.length, height, width, channels], labels } as const;
    if (!softTargets) {
      yield batch;
      continue;
    }
    const targets = await softTargets.read(rows.map((row) => softTargetRow(set, view, row)));
    const weights = {
      softWeights: new Float32Array(labels.length).fill(1),
      hardWeights: Float32Array.from(labels, (label) => (label < 0 ? 0 : objective.hardWeight)),
    };
    const { classes } = softTargets;
    yield { ...batch, teacher: { ...teacherTargets(targets, labels, objective, classes), ...weights } };
  }
}

type WithoutWeights<T> = T extends TeacherTargets ? Omit<T, 'softWeights' | 'hardWeights'> : never;

function teacherTargets(
  targets: SoftTargets,
  labels: Int32Array,
  { kind, temperature, rest, otherWeight }: StudentObjective,
  classes: number,
): WithoutWeights<TeacherTargets> {
  const at = { temperature, classes };
  switch (kind) {
    case 'logits':
      return { kind, logits: fullLogits(targets, classes) };
    case 'decoupled':
      return { kind, ...decoupledTargets(targets, labels, at), temperature, rest, otherWeight };
    case 'standardised':
      return { kind, probabilities: standardisedTargets(targets, at), temperature, rest };
    default:
      return { kind: 'probabilities', probabilities: temperedTargets(targets, at), temperature, rest };
  }
}

/** The images that a student sees, as they are and in the written order. */
export function usedImages(set: TransferSet, { isUsed }: SelectedRows, image: ImageShape) {
  return batchExamples(used(set.examples(), isUsed), image, { batchSize: 256 });
}

async function* used(stream: AsyncIterable<Example>, isUsed: Uint8Array): AsyncGenerator<Example> {
  for await (const example of stream) if (isUsed[example.row] === 1) yield example;
}

async function* passedOver(stream: AsyncIterable<Example>, count: number): AsyncGenerator<Example> {
  let left = count;
  for await (const example of stream) {
    if (left > 0) left--;
    else yield example;
  }
}
