import {
  DataType,
  Field,
  FixedSizeList,
  Float32,
  Int32,
  makeData,
  Precision,
  type RecordBatch,
  Schema,
} from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import { column, integers } from './arrow-columns.js';
import { indexArrowFiles } from './arrow-folder.js';
import type { ShardIndex } from './arrow-shard.js';
import { createShardWriter, type ShardRecord } from './arrow-shard-writer.js';
import type { ShuffleSeed } from './row-order.js';
import { batchOf, type LoadedBatch, readBlocks } from './shard-rows.js';

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
  /** Leaves out a last batch that is not full. */
  readonly dropLast?: boolean;
  /** Memory of a batch that every batch is written into, each over the one before; none: each gets its own. */
  readonly into?: FeatureBatch | undefined;
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
 * Cost: while streaming, two buffers of `bufferRows` rows. Where all rows fit in one, it is read once and held for
 * every later stream.
 */
export async function readFeatures(directory: string): Promise<Features> {
  const { shards, width, rows } = await indexFeatures(directory);
  const held = new Map<number, Promise<RecordBatch>>();
  return { width, rows, batches: (options) => streamFeatures(shards, width, held, options) };
}

/** Where cached features lie, with their width and number. */
export async function indexFeatures(
  directory: string,
): Promise<{ readonly shards: readonly ShardIndex[]; readonly width: number; readonly rows: number }> {
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
  return { shards, width, rows: shards.reduce((sum, shard) => sum + shard.rows, 0) };
}

async function* streamFeatures(
  shards: readonly ShardIndex[],
  width: number,
  held: Map<number, Promise<RecordBatch>>,
  { batchSize, shuffleSeed, bufferRows = 8192, skipBatches = 0, dropLast = false, into }: FeatureReadOptions,
): AsyncGenerator<FeatureBatch & { readonly rows: Int32Array }> {
  const empty = () => ({
    features: into?.features ?? new Float32Array(batchSize * width), // (batch, width)
    labels: into?.labels ?? new Int32Array(batchSize),
    rows: new Int32Array(batchSize),
  });
  let batch = empty();
  let filled = 0;
  const skip = skipBatches * batchSize;
  for await (const block of readBlocks(shards, { shuffleSeed, bufferRows, skip, held })) {
    const columns = block.batches.map((loaded, which) => columnsOf(loaded, block.ends[which]));
    for (const position of block.order.subarray(block.skip)) {
      const which = batchOf(block.ends, position);
      const { values, labelAt, firstRow, start } = columns[which];
      const inBatch = position - start;
      batch.features.set(values.subarray(inBatch * width, (inBatch + 1) * width), filled * width);
      batch.labels[filled] = labelAt(inBatch);
      batch.rows[filled] = firstRow + inBatch;
      if (++filled < batchSize) continue;
      yield batch;
      batch = empty();
      filled = 0;
    }
  }
  if (filled === 0 || dropLast) return;
  yield {
    features: batch.features.slice(0, filled * width),
    labels: batch.labels.slice(0, filled),
    rows: batch.rows.slice(0, filled),
  };
}
/** The columns of a batch that ends at a position of its block. */
function columnsOf({ batch, shard, firstRow, firstRowOfShard }: LoadedBatch, end: number) {
  const features = column(batch, 'features');
  const label = column(batch, 'label');
  assert(features !== undefined && label !== undefined, 'a column vanished between schema and batch');
  const values: Float32Array = features.children[0].values; // (rows, width)
  const labelAt = integers(label, { path: shard.path, firstRow: firstRowOfShard });
  return { values, labelAt, firstRow, start: end - batch.numRows };
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
