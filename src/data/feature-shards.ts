import { DataType, Field, FixedSizeList, Float32, Int32, makeData, Precision, Schema } from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import { column, integers } from './arrow-columns.js';
import { indexArrowFiles } from './arrow-folder.js';
import type { ShardIndex } from './arrow-shard.js';
import { createShardWriter, type ShardRecord } from './arrow-shard-writer.js';
import type { ShuffleSeed } from './row-order.js';
import { readRows } from './shard-rows.js';

/** Features of some rows with their labels. */
export interface FeatureBatch {
  /** (batch, width). */
  readonly features: Float32Array;
  /** (batch). */
  readonly labels: Int32Array;
}

/** See {@link createFeatureWriter}. */
export interface FeatureWriter {
  write(batch: FeatureBatch): Promise<void>;
  close(): Promise<readonly ShardRecord[]>;
  abort(): Promise<void>;
}

/** How cached features are streamed. */
export interface FeatureReadOptions {
  readonly batchSize: number;
  /** Names the shuffle; none for the written order. */
  readonly shuffleSeed?: ShuffleSeed | undefined;
  /** Rows that are held and shuffled together: at least one record batch, at most 64 MiB. */
  readonly bufferRows?: number;
  /** Batches that were consumed before and are passed over. */
  readonly skipBatches?: number;
  /** Which rows are wanted, by label and index in the written order; asked once for each row, before it is copied. */
  readonly keep?: ((label: number, row: number) => boolean) | undefined;
  /** Leaves out a last batch that is not full. */
  readonly dropLast?: boolean;
}

/** Cached features on disk. */
export interface Features {
  readonly width: number;
  readonly rows: number;
  /** Streams batches of rows; `rows` are indices in the written order. */
  batches(options: FeatureReadOptions): AsyncIterable<FeatureBatch & { readonly rows: Int32Array }>;
}

/** Rows of a record batch: the unit in which the reader draws and shuffles. */
const batchRows = 256;

/**
 * Writes the features that a frozen network computes, so that they are computed once.
 *
 * @param directory made when it does not exist
 * @param options.width numbers a row
 * @param options.shardBytes a new shard begins before one grows beyond this many bytes
 * @returns a writer of Arrow shards with `features: fixed_size_list<float32>[width]` and `label: int32`
 * @throws KdSpecError `disk-full`, `not-readable`
 */
export async function createFeatureWriter(
  directory: string,
  { width, shardBytes = 64 * 2 ** 20 }: { readonly width: number; readonly shardBytes?: number },
): Promise<FeatureWriter> {
  const type = new FixedSizeList(width, new Field('item', new Float32(), false));
  const schema = new Schema([new Field('features', type, false), new Field('label', new Int32(), false)]);
  const writer = await createShardWriter(directory, schema, { shardBytes });
  return {
    async write({ features, labels }) {
      assert(
        features.length === labels.length * width,
        `${features.length} features for ${labels.length} rows`,
      );
      for (let start = 0; start < labels.length; start += batchRows) {
        const length = Math.min(batchRows, labels.length - start);
        const data = features.subarray(start * width, (start + length) * width); // (length, width)
        const child = makeData({ type: new Float32(), length: length * width, data });
        await writer.write([
          makeData({ type, length, child }),
          makeData({ type: new Int32(), length, data: labels.subarray(start, start + length) }),
        ]);
      }
    },
    close: () => writer.close(),
    abort: () => writer.abort(),
  };
}

/**
 * Opens features that {@link createFeatureWriter} wrote.
 *
 * @param directory the folder of the shards, or one Arrow file
 * @throws KdSpecError `not-found`, `dataset-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: while streaming, two buffers of `bufferRows` rows.
 */
export async function readFeatures(directory: string): Promise<Features> {
  const shards = await indexArrowFiles(directory, 'features as Arrow files');
  const widths = shards.map(featureWidth);
  const width = widths[0];
  for (const [index, found] of widths.entries()) {
    if (found === width) continue;
    throw new KdSpecError(
      'dataset-invalid',
      `${shards[index].path}: expected features of width ${width}, found ${found}: remove files of other features`,
    );
  }
  const rows = shards.reduce((sum, shard) => sum + shard.rows, 0);
  return { width, rows, batches: (options) => streamFeatures(shards, width, options) };
}

async function* streamFeatures(
  shards: readonly ShardIndex[],
  width: number,
  { batchSize, shuffleSeed, bufferRows = 8192, skipBatches = 0, keep, dropLast = false }: FeatureReadOptions,
): AsyncGenerator<FeatureBatch & { readonly rows: Int32Array }> {
  const stream = readRows(
    shards,
    (batch, path, firstRow) => {
      const features = column(batch, 'features');
      const label = column(batch, 'label');
      assert(features !== undefined && label !== undefined, 'a column vanished between schema and batch');
      const values: Float32Array = features.children[0].values; // (rows, width)
      const labelAt = integers(label, { path, firstRow });
      return {
        keep: (position: number, row: number) => !keep || keep(labelAt(position), row),
        take: (position: number, row: number) => ({ values, position, row, label: labelAt(position) }),
      };
    },
    { shuffleSeed, bufferRows, skip: skipBatches * batchSize, filtered: keep !== undefined },
  );
  const empty = () => ({
    features: new Float32Array(batchSize * width), // (batch, width)
    labels: new Int32Array(batchSize),
    rows: new Int32Array(batchSize),
  });
  let batch = empty();
  let filled = 0;
  for await (const { values, position, row, label } of stream) {
    batch.features.set(values.subarray(position * width, (position + 1) * width), filled * width);
    batch.labels[filled] = label;
    batch.rows[filled] = row;
    if (++filled < batchSize) continue;
    yield batch;
    batch = empty();
    filled = 0;
  }
  if (filled === 0 || dropLast) return;
  yield {
    features: batch.features.slice(0, filled * width),
    labels: batch.labels.slice(0, filled),
    rows: batch.rows.slice(0, filled),
  };
}

function isFloat32List(type: DataType | undefined): type is FixedSizeList<Float32> {
  const item: unknown = DataType.isFixedSizeList(type) ? type.valueType : undefined;
  return DataType.isFloat(item) && item.precision === Precision.SINGLE;
}

function featureWidth({ path, schema }: ShardIndex): number {
  const find = (name: string): DataType | undefined =>
    schema.fields.find((field) => field.name === name)?.type;
  const type = find('features');
  if (isFloat32List(type) && DataType.isInt(find('label'))) {
    return type.listSize;
  }
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected the columns features: fixed_size_list<float32> and label: int32, found ` +
      `${schema.fields.join(', ')}: these are not cached features`,
  );
}
