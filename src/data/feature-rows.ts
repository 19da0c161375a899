import { closeSync, openSync, readSync } from 'node:fs';
import { DataType } from 'apache-arrow';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import type { BatchLocation, ShardIndex } from './arrow-shard.js';
import { indexFeatures } from './feature-shards.js';

/** Cached features of which single rows are read. */
export interface FeatureRows extends Disposable {
  readonly width: number;
  /** (rows), the label of every row, in the written order. */
  readonly labels: Int32Array;
  /**
   * Reads some rows.
   *
   * @param rows in the written order; a row may come again
   * @param into gets them one after the other, at least (rows, stride)
   * @param stride from one row to the next in `into`, at least the width: what lies between is left as it is
   * @throws KdSpecError `shard-truncated`
   * Cost: those bytes alone are read, neighbours together. It waits for the disk.
   */
  read(rows: ArrayLike<number>, into: Float32Array, stride?: number): void;
}

// Our writer's columns, features: fixed_size_list<float32> and label: int32, have these buffers in a batch.
const valuesBuffer = 2; // after the validity of the lists and of their items
const labelBuffer = 4; // after its validity

/**
 * Opens features that `createFeatureWriter` wrote, to take few rows out of many.
 *
 * @param directory the folder of the shards
 * @throws KdSpecError as `readFeatures` does
 * Cost: labels are read and held, 4 bytes a row; one open file a shard.
 */
export async function openFeatureRows(directory: string): Promise<FeatureRows> {
  const { shards, width, rows } = await indexFeatures(directory);
  const labels = new Int32Array(rows);
  const places: BatchPlace[] = [];
  const files: number[] = [];
  const close = () => files.splice(0).forEach(closeSync);
  try {
    let firstRow = 0;
    for (const shard of shards) {
      if (!isOurs(shard)) throw notOurs(shard.path);
      const file = openFile(shard.path);
      files.push(file);
      for (const location of shard.batches) {
        const place = { shard, file, location, firstRow };
        places.push(place);
        readBuffer(place, labelBuffer, 0, labels.subarray(firstRow, firstRow + location.rows));
        firstRow += location.rows;
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    width,
    labels,
    read(wanted, into, stride = width) {
      let which = 0;
      for (let start = 0; start < wanted.length; ) {
        const row = wanted[start];
        while (row >= places[which].firstRow + places[which].location.rows) which++;
        const { firstRow, location } = places[which];
        let end = start + 1;
        while (
          stride === width &&
          wanted[end] === row + end - start &&
          wanted[end] < firstRow + location.rows
        )
          end++;
        const target = into.subarray(start * stride, start * stride + (end - start) * width);
        readBuffer(places[which], valuesBuffer, 4 * width * (row - firstRow), target);
        start = end;
      }
    },
    [Symbol.dispose]: close,
  };
}

interface BatchPlace {
  readonly shard: ShardIndex;
  readonly file: number;
  readonly location: BatchLocation;
  /** Index of the batch's first row among the rows of all shards. */
  readonly firstRow: number;
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw asFileError(error, path, 'an Arrow shard');
  }
}

/** Fills an array from a buffer of a batch. */
function readBuffer(
  { shard, file, location, firstRow }: BatchPlace,
  buffer: number,
  offsetBytes: number,
  target: Float32Array | Int32Array,
): void {
  const { byteLength } = target;
  const bytes = new Uint8Array(target.buffer, target.byteOffset, byteLength);
  const position = location.bufferOffsets[buffer] + offsetBytes;
  let done = 0;
  while (done < byteLength) {
    const more = readSync(file, bytes, done, byteLength - done, position + done);
    if (more === 0)
      throw new KdSpecError(
        'shard-truncated',
        `${shard.path} ends within the rows from ${firstRow} on: make the features again`,
      );
    done += more;
  }
}

function isOurs({ schema, batches }: ShardIndex): boolean {
  const [features, label, ...more] = schema.fields;
  return (
    features.name === 'features' &&
    DataType.isInt(label?.type) &&
    label.type.bitWidth === 32 &&
    more.length === 0 &&
    batches.every(({ bufferOffsets }) => bufferOffsets.length === labelBuffer + 1)
  );
}

function notOurs(path: string): KdSpecError {
  return new KdSpecError(
    'dataset-invalid',
    `${path}: expected the columns features and label alone, in this order: make the features again`,
  );
}
