import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError, withFileErrors } from '../core/file-error.js';
import { createRandom } from '../core/random.js';
import { type Dataset, openDataset, type Split } from '../data/dataset.js';
import { manifestName } from '../data/dataset-files.js';
import { type Example, examples } from '../data/examples.js';
import { listImages } from '../data/image-files.js';
import { type ShuffleSeed, shuffledRows } from '../data/row-order.js';
import { softTargetBatchRows } from './soft-target-store.js';

/** The images on which a student learns from its teacher. Labels may be unknown: they are -1 then. */
export interface TransferSet {
  /** For a person. */
  readonly description: string;
  readonly rows: number;
  readonly isLabelled: boolean;
  /**
   * Streams the encoded images, in the written order or shuffled by seed; `row` numbers them in the written order.
   *
   * @param options.skip images at the beginning that are left out, without being read
   */
  examples(options?: { readonly shuffleSeed?: ShuffleSeed; readonly skip?: number }): AsyncIterable<Example>;
}

const filesAhead = 32;

/**
 * Opens a transfer set: the training part of the workspace's data set, or of another one that kd-spec wrote, or any
 * folder of images, without labels and searched through.
 *
 * @param path none for the workspace's own
 * @param dataset the workspace's, whose classes the student has
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`
 *
 * The labels of another data set count only if its classes are the same.
 */
export async function openTransferSet(path: string | null, dataset: Dataset): Promise<TransferSet> {
  if (path === null) return ofSplit(dataset.splits.train, dataset.description, true);
  const info = await stat(path).catch((error: unknown) => {
    throw asFileError(error, path, 'a data set or a folder of images');
  });
  if (!info.isDirectory())
    throw new KdSpecError('not-found', `${path} is a file: expected a data set or a folder of images`);
  if (!existsSync(join(path, manifestName))) return await ofFolder(path);
  const other = await openDataset(path);
  const isLabelled = other.classes.join('\n') === dataset.classes.join('\n');
  return ofSplit(other.splits.train, other.description, isLabelled);
}

function ofSplit(split: Split, description: string, isLabelled: boolean): TransferSet {
  return {
    description,
    rows: split.rows,
    isLabelled,
    async *examples(options) {
      for await (const example of examples(split, options))
        yield isLabelled ? example : { ...example, label: -1 };
    },
  };
}

async function ofFolder(path: string): Promise<TransferSet> {
  const files = await listImages(path);
  return {
    description: `${files.length} images of a folder, without labels`,
    rows: files.length,
    isLabelled: false,
    async *examples({ shuffleSeed, skip = 0 } = {}) {
      // Neighbouring files stay near each other, since their soft targets are read together.
      const order = shuffleSeed
        ? shuffledRows(files.length, { batchRows: softTargetBatchRows, shuffleSeed })
        : Int32Array.from(files.keys());
      for (let start = skip; start < order.length; start += filesAhead) {
        const rows = [...order.subarray(start, start + filesAhead)];
        yield* await Promise.all(
          rows.map(async (row) => {
            const file = files[row];
            return { row, label: -1, bytes: await withFileErrors(file, () => readFile(file)) };
          }),
        );
      }
    },
  };
}

/**
 * The labels of a transfer set, (rows), -1 for one that is not known; undefined where none is.
 *
 * Cost: one pass over the set, without decoding an image.
 */
export async function labelsOf(set: TransferSet): Promise<Int32Array | undefined> {
  if (!set.isLabelled) return undefined;
  const labels = new Int32Array(set.rows).fill(-1);
  for await (const { row, label } of set.examples()) labels[row] = label;
  return labels;
}

/** Which images of a transfer set a student sees. */
export interface Selection {
  /** Classes whose images are used; all when there is none. */
  readonly classes: readonly number[] | null;
  /** Classes whose images are left out. */
  readonly without: readonly number[];
  /** Share of the images of each class, in (0, 1]. */
  readonly share: number;
  readonly seed: number;
}

/** The images of a selection. */
export interface SelectedRows {
  /** (rows of the set), 1 for an image that is used. */
  readonly isUsed: Uint8Array;
  readonly count: number;
  /** The classes of which no image is used; empty when the set has no labels. */
  readonly unseen: readonly number[];
}

/**
 * Chooses the images of a transfer set, each class's share at random by seed.
 *
 * @param classes how many the student has
 * @throws KdSpecError `option-invalid` when classes are named and labels are unknown, or nothing is left
 * Cost: one pass over the set when something is to be left out, or to find which classes are there.
 */
export async function selectRows(
  set: TransferSet,
  { classes, without, share, seed }: Selection,
  classCount: number,
): Promise<SelectedRows> {
  const names = classes !== null || without.length > 0;
  if (names && !set.isLabelled) {
    throw new KdSpecError(
      'option-invalid',
      `classes cannot be chosen from a transfer set without labels (${set.description}): ` +
        'give one with labels, or neither --transfer-classes nor --transfer-without',
    );
  }
  const allowed = new Set(classes ?? Array.from({ length: classCount }, (_, label) => label));
  for (const label of without) allowed.delete(label);
  const byClass = new Map<number, number[]>();
  for await (const { row, label } of set.examples()) {
    if (set.isLabelled && !allowed.has(label)) continue;
    const rows = byClass.get(label);
    if (rows) rows.push(row);
    else byClass.set(label, [row]);
  }
  const isUsed = new Uint8Array(set.rows);
  let count = 0;
  for (const [label, rows] of byClass) {
    const wanted = Math.max(1, Math.round(share * rows.length));
    if (wanted < rows.length) createRandom(seed, 'transfer', label).shuffle(rows);
    for (const row of rows.slice(0, wanted)) isUsed[row] = 1;
    count += wanted;
  }
  if (count === 0) throw new KdSpecError('option-invalid', 'the transfer set is empty: choose other classes');
  const unseen = set.isLabelled
    ? Array.from({ length: classCount }, (_, label) => label).filter((label) => !byClass.has(label))
    : [];
  return { isUsed, count, unseen };
}
