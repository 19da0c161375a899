import { assert } from '../core/errors.js';
import { createRandom } from '../core/random.js';

/** Names a shuffle: the same labels give the same order on every machine. */
export type ShuffleSeed = readonly (string | number)[];

/** What a reader has to know about a record batch to place it in an order. */
export interface BatchSize {
  readonly rows: number;
  readonly sizeBytes: number;
}

/** A group of record batches that is held in memory together, and the order in which its rows are given out. */
export interface RowBlock {
  /** Indices of record batches, in the order in which they are concatenated. */
  readonly batches: Int32Array;
  readonly rows: number;
  /** Position of the block among the blocks of the same order. */
  readonly index: number;
}

/**
 * Cuts record batches into blocks that fit a bounded buffer, in the order of reading.
 *
 * With a seed the batches of *all* shards are permuted first, so that a block holds rows from everywhere;
 * {@link rowsOfBlock} then permutes the rows of the block. Without a seed the order is the written one.
 * The order is a function of sizes and seed alone: a reader that resumes need not read what it skips.
 *
 * @param sizes rows and bytes of every batch, in the written order
 * @param options.shuffleSeed names the permutation; none for the written order
 * @param options.bufferRows a block has at most this many rows, in [1, 2^31), but at least one batch
 * @param options.bufferBytes and at most this many bytes
 * @returns blocks that together hold every batch once
 */
export function rowBlocks(
  sizes: readonly BatchSize[],
  {
    shuffleSeed,
    bufferRows = 8192,
    bufferBytes = 64 * 2 ** 20,
  }: {
    readonly shuffleSeed?: ShuffleSeed | undefined;
    readonly bufferRows?: number;
    readonly bufferBytes?: number;
  } = {},
): RowBlock[] {
  assert(bufferRows >= 1 && bufferBytes >= 1, `a buffer of ${bufferRows} rows, ${bufferBytes} bytes`);
  const order = Int32Array.from(sizes.keys());
  if (shuffleSeed) createRandom(...shuffleSeed, 'batches').shuffle(order);

  const blocks: RowBlock[] = [];
  let start = 0;
  let rows = 0;
  let bytes = 0;
  const cut = (end: number) => {
    if (rows > 0) blocks.push({ batches: order.slice(start, end), rows, index: blocks.length });
    start = end;
    rows = 0;
    bytes = 0;
  };
  for (const [position, batch] of order.entries()) {
    const size = sizes[batch];
    if (rows + size.rows > bufferRows || bytes + size.sizeBytes > bufferBytes) cut(position);
    rows += size.rows;
    bytes += size.sizeBytes;
  }
  cut(order.length);
  return blocks;
}

/**
 * The order in which the rows of a block are given out.
 *
 * @returns (rows) positions in the concatenated batches of the block, each once
 */
export function rowsOfBlock(block: RowBlock, shuffleSeed?: ShuffleSeed): Int32Array {
  const positions = Int32Array.from({ length: block.rows }, (_, position) => position);
  return shuffleSeed ? createRandom(...shuffleSeed, 'rows', block.index).shuffle(positions) : positions;
}

/**
 * A shuffle of rows that are not in record batches, but whose neighbours are to be read together.
 *
 * @param count rows
 * @param options.batchRows rows that belong together
 * @returns (count) every row once; consecutive ones come from one or two blocks of {@link rowBlocks}
 */
export function shuffledRows(
  count: number,
  { batchRows, shuffleSeed }: { readonly batchRows: number; readonly shuffleSeed: ShuffleSeed },
): Int32Array {
  const sizes = Array.from({ length: Math.ceil(count / batchRows) }, (_, batch) => ({
    rows: Math.min(batchRows, count - batch * batchRows),
    sizeBytes: 0,
  }));
  const order = new Int32Array(count);
  let filled = 0;
  for (const block of rowBlocks(sizes, { shuffleSeed })) {
    const rows = [...block.batches].flatMap((batch) =>
      Array.from({ length: sizes[batch].rows }, (_, place) => batch * batchRows + place),
    );
    for (const position of rowsOfBlock(block, shuffleSeed)) order[filled++] = rows[position];
  }
  return order;
}
