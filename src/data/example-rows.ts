import { KdSpecError } from '../core/errors.js';
import { readBatch } from './arrow-batch.js';
import { column, encodedImages, integers } from './arrow-columns.js';
import { type BatchLocation, indexShard, openShard, type ShardIndex } from './arrow-shard.js';
import type { Split } from './dataset.js';

/** Single examples of a split, read when they are wanted. */
export interface ExampleRows {
  /** (rows), the label of every row, in the written order. */
  readonly labels: Int32Array;
  /**
   * The image file of a row.
   *
   * @throws KdSpecError `shard-truncated`, `shard-corrupt`, `not-found` when the data set has changed since
   */
  image(row: number): Promise<Uint8Array>;
}

const heldBatches = 4; // record batches that stay decoded

/**
 * Opens a split for looking at single rows of it.
 *
 * Cost: one pass over the shards, a record batch at a time, for the labels, which are held: 4 bytes a row. An image is
 * a read of its record batch, unless that is one of the last few.
 *
 * @throws as `examples`
 */
export async function openExampleRows(split: Split): Promise<ExampleRows> {
  const places: BatchPlace[] = [];
  const labels = new Int32Array(split.rows);
  let firstRow = 0;
  for (const { path } of split.shards) {
    const shard = await indexShard(path);
    let firstRowOfShard = 0;
    for (const location of shard.batches) {
      const place = { shard, location, firstRow, firstRowOfShard };
      places.push(place);
      const data = column(await load(place), 'label');
      if (data === undefined) throw new KdSpecError('dataset-invalid', `${path}: expected a column label`);
      const labelAt = integers(data, { path, firstRow: firstRowOfShard });
      for (let position = 0; position < location.rows; position++)
        labels[firstRow + position] = labelAt(position);
      firstRow += location.rows;
      firstRowOfShard += location.rows;
    }
  }
  const held = new Map<BatchPlace, ReturnType<typeof load>>();
  return {
    labels,
    async image(row) {
      const place = places.findLast((candidate) => candidate.firstRow <= row);
      if (place === undefined || row >= place.firstRow + place.location.rows)
        throw new KdSpecError('not-found', `expected a row below ${labels.length}, got ${row}`);
      const loading = held.get(place) ?? load(place);
      held.delete(place);
      held.set(place, loading); // the newest last
      loading.catch(() => held.delete(place));
      for (const oldest of held.keys()) {
        if (held.size <= heldBatches) break;
        held.delete(oldest);
      }
      const data = column(await loading, 'image');
      const { path } = place.shard;
      if (data === undefined) throw new KdSpecError('dataset-invalid', `${path}: expected a column image`);
      return encodedImages(data, { path, firstRow: place.firstRowOfShard })(row - place.firstRow);
    },
  };
}

interface BatchPlace {
  readonly shard: ShardIndex;
  readonly location: BatchLocation;
  /** Index of the batch's first row among the rows of all shards, and among those of its own. */
  readonly firstRow: number;
  readonly firstRowOfShard: number;
}

async function load({ shard, location }: BatchPlace) {
  const handle = await openShard(shard.path);
  try {
    return await readBatch(handle, shard, location);
  } finally {
    await handle.close();
  }
}
