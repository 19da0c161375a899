import { KdSpecError } from '../core/errors.js';
import { column, encodedImages, featureBytes, integers } from './arrow-columns.js';
import { indexShard } from './arrow-shard.js';
import type { Split } from './dataset.js';
import type { ShuffleSeed } from './row-order.js';
import { readRows } from './shard-rows.js';

/** One labelled image as it is stored. */
export interface Example {
  /** Index in the split, in the written order. */
  readonly row: number;
  /** The image file, or the float32 of a row of features. A view of a larger buffer: copy it to keep it. */
  readonly bytes: Uint8Array;
  readonly label: number;
}

/** Which examples are read, and in which order. */
export interface ExampleOptions {
  /** Names the shuffle, e.g. `[seed, 'epoch', 3]`; none for the written order. */
  readonly shuffleSeed?: ShuffleSeed;
  /** Examples that are held and shuffled together: at least one record batch, at most 64 MiB. */
  readonly bufferRows?: number;
  /** Examples, after `keep`, that were consumed before and are passed over without being decoded. */
  readonly skip?: number;
  /** Which labels are wanted; looked at before anything is copied. */
  readonly keep?: (label: number) => boolean;
}

/**
 * Streams the examples of a split.
 *
 * With `shuffleSeed` the record batches of all shards are permuted, then the rows of a bounded buffer of
 * them; the order depends on the seed and the files alone. `keep` and `skip` take examples out of that
 * order and do not change it.
 *
 * @param split from `openDataset`
 * @returns every (kept) example once
 * @throws KdSpecError `shard-truncated` and `shard-corrupt` naming the shard and the row; `dataset-invalid` for a
 *   label that no class has
 * Cost: two buffers in memory. Skipped buffers are not read when there is no `keep`.
 *
 * @example
 * const { splits } = await openDataset('kd-workspace/dataset');
 * for await (const { bytes, label } of examples(splits.train, { shuffleSeed: [1, 'epoch', 0] })) {
 *   console.log(label, bytes.length);
 * }
 */
export async function* examples(
  split: Split,
  { shuffleSeed, bufferRows = 8192, skip = 0, keep }: ExampleOptions = {},
): AsyncGenerator<Example> {
  const shards = [];
  for (const { path, rows } of split.shards) {
    const shard = await indexShard(path);
    if (shard.rows !== rows) {
      throw new KdSpecError(
        'shard-corrupt',
        `${path}: expected ${rows} rows, found ${shard.rows}: copy the file again, or make the data set again`,
      );
    }
    shards.push(shard);
  }
  yield* readRows(
    shards,
    (batch, path, firstRow) => {
      const image = column(batch, 'image');
      const features = column(batch, 'features');
      const label = column(batch, 'label');
      const stored = image ?? features;
      if (!stored || !label) {
        throw new KdSpecError(
          'dataset-invalid',
          `${path}: expected the columns image (or features) and label: make it again`,
        );
      }
      const bytesAt = image
        ? encodedImages(image, { path, firstRow })
        : featureBytes(stored, { path, firstRow });
      const integerAt = integers(label, { path, firstRow });
      const labelAt = (position: number) => {
        const value = integerAt(position);
        if (value >= 0 && value < split.classes) return value;
        throw new KdSpecError(
          'dataset-invalid',
          `${path}: expected a label from 0 to ${split.classes - 1} in row ${firstRow + position}, found ${value}: ` +
            'make the data set again',
        );
      };
      return {
        keep: (position: number) => !keep || keep(labelAt(position)),
        take: (position: number, row: number) => ({
          row,
          bytes: bytesAt(position),
          label: labelAt(position),
        }),
      };
    },
    { shuffleSeed, bufferRows, skip, filtered: keep !== undefined },
  );
}
