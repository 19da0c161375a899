import type { FileHandle } from 'node:fs/promises';
import type { RecordBatch } from 'apache-arrow';
import { readBatch } from './arrow-batch.js';
import { type BatchLocation, openShard, type ShardIndex } from './arrow-shard.js';
import { type RowBlock, rowBlocks, rowsOfBlock, type ShuffleSeed } from './row-order.js';

/** How {@link readRows} orders and resumes. */
export interface RowReadOptions {
  /** Names the shuffle; none for the written order. */
  readonly shuffleSeed?: ShuffleSeed | undefined;
  /** Rows that are held and shuffled together. */
  readonly bufferRows?: number;
  /** Rows, after `keep`, that are passed over. */
  readonly skip?: number;
  /** The only columns that are read. */
  readonly columns?: readonly string[];
}

/** How the rows of one record batch are taken out, made once a batch. */
export interface RowReader<T> {
  /** Whether the row is wanted; asked once for each row, in order, before anything of it is copied. */
  keep?(position: number, row: number): boolean;
  /** Takes one row out; `row` is its index among the rows of all shards. */
  take(position: number, row: number): T;
}

/** A record batch in memory. */
export interface LoadedBatch extends BatchPlace {
  readonly batch: RecordBatch;
}

/** A block of rows in memory. */
export interface LoadedBlock {
  readonly batches: readonly LoadedBatch[];
  /** (rows), the order in which its rows are given out: positions in the concatenated batches. */
  readonly order: Int32Array;
  /** (batches), where each batch ends among these positions. */
  readonly ends: Int32Array;
  /** Rows at the head of the order that an earlier sitting consumed. */
  readonly skip: number;
}

/**
 * Streams the blocks of several shards, in the written order or shuffled by seed; see {@link readRows}.
 *
 * @param options.held keeps what is read, if it is all one block, for the next call: memory for one block
 */
export async function* readBlocks(
  shards: readonly ShardIndex[],
  {
    shuffleSeed,
    bufferRows,
    skip = 0,
    filtered = false,
    columns,
    held,
  }: RowReadOptions & {
    readonly filtered?: boolean;
    readonly held?: Map<number, Promise<RecordBatch>> | undefined;
  } = {},
): AsyncGenerator<LoadedBlock> {
  const places = placeBatches(shards);
  const sizes = places.map(({ location }) => location);
  const blocks = rowBlocks(sizes, { shuffleSeed, ...(bufferRows ? { bufferRows } : {}) });
  const handles = new Map<string, Promise<FileHandle>>();

  const read = async ({ shard, location }: BatchPlace) => {
    const handle = handles.get(shard.path) ?? openShard(shard.path);
    handles.set(shard.path, handle);
    return readBatch(await handle, shard, location, { columns });
  };
  const load = (block: RowBlock) =>
    Promise.all(
      Array.from(block.batches, async (index) => {
        const place = places[index];
        const reading = held?.get(index) ?? read(place);
        if (blocks.length === 1) held?.set(index, reading);
        return { ...place, batch: await reading };
      }),
    );

  let toSkip = skip;
  let first = 0;
  while (!filtered && first < blocks.length && blocks[first].rows <= toSkip) toSkip -= blocks[first++].rows;

  let pending: ReturnType<typeof load> | undefined;
  try {
    pending = first < blocks.length ? load(blocks[first]) : undefined;
    for (let index = first; pending; index++) {
      const block = blocks[index];
      const batches = await pending;
      pending = index + 1 < blocks.length ? load(blocks[index + 1]) : undefined;
      // The failure of a read ahead belongs to the round that awaits it, not to the process.
      pending?.catch(() => {});

      const ends = new Int32Array(batches.length);
      let end = 0;
      for (const [position, { batch }] of batches.entries()) {
        end += batch.numRows;
        ends[position] = end;
      }
      yield { batches, order: rowsOfBlock(block, shuffleSeed), ends, skip: filtered ? 0 : toSkip };
      toSkip = 0;
    }
  } finally {
    await pending?.catch(() => {});
    for (const handle of handles.values()) await handle.then((open) => open.close()).catch(() => {});
  }
}

/**
 * Streams the rows of several shards, in the written order or shuffled by seed.
 *
 * One block of rows is given out while the next is being read.
 *
 * @param shards the files, in the order that numbers their rows
 * @param reader makes the {@link RowReader} of a batch; `path` and `firstRow` (row of the file) are for messages
 * @param options.skip without `keep`, skipped blocks are not read at all; with it they are read, not decoded
 * Cost: at most two blocks in memory; every batch is read once.
 */
export async function* readRows<T>(
  shards: readonly ShardIndex[],
  reader: (batch: RecordBatch, path: string, firstRow: number) => RowReader<T>,
  options: RowReadOptions & { readonly filtered?: boolean } = {},
): AsyncGenerator<T> {
  let toSkip = options.filtered ? (options.skip ?? 0) : 0;
  for await (const { batches, order, ends, skip } of readBlocks(shards, options)) {
    toSkip += skip;
    const readers = batches.map(({ batch, shard, firstRowOfShard }) =>
      reader(batch, shard.path, firstRowOfShard),
    );
    for (const position of order) {
      const which = batchOf(ends, position);
      const inBatch = position - (which === 0 ? 0 : ends[which - 1]);
      const rows = readers[which];
      const row = batches[which].firstRow + inBatch;
      if (rows.keep && !rows.keep(inBatch, row)) continue;
      if (toSkip > 0) toSkip--;
      else yield rows.take(inBatch, row);
    }
  }
}

interface BatchPlace {
  readonly shard: ShardIndex;
  readonly location: BatchLocation;
  /** Index of the batch's first row among the rows of all shards. */
  readonly firstRow: number;
  /** And among the rows of its own shard. */
  readonly firstRowOfShard: number;
}

function placeBatches(shards: readonly ShardIndex[]): BatchPlace[] {
  const places: BatchPlace[] = [];
  let shardStart = 0;
  for (const shard of shards) {
    let firstRowOfShard = 0;
    for (const location of shard.batches) {
      places.push({ shard, location, firstRow: shardStart + firstRowOfShard, firstRowOfShard });
      firstRowOfShard += location.rows;
    }
    shardStart += firstRowOfShard;
  }
  return places;
}

/** Index of the batch that holds a position: the first whose end lies beyond it (binary search). */
export function batchOf(ends: Int32Array, position: number): number {
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle] > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
