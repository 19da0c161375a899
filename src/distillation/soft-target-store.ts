import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Field, FixedSizeList, Float32, Int32, List, makeData, Schema } from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import { createPause } from '../core/pause.js';
import { readBatch } from '../data/arrow-batch.js';
import { column } from '../data/arrow-columns.js';
import { indexArrowFiles } from '../data/arrow-folder.js';
import { openShard, type ShardIndex } from '../data/arrow-shard.js';
import { createShardWriter, type ShardRecord } from '../data/arrow-shard-writer.js';
import { logSumExp } from '../math/softmax.js';
import { topK } from '../math/top-k.js';
import { type SoftTargets, tailSize, tailSums } from './soft-targets.js';

/** See {@link createSoftTargetWriter}. */
export interface SoftTargetWriter {
  /**
   * Appends some rows, given as (batch, classes) logits up to a constant per row.
   *
   * @returns the probability of the listed classes, summed over the rows
   */
  write(logits: Float32Array): Promise<number>;
  close(): Promise<readonly ShardRecord[]>;
  abort(): Promise<void>;
}

/** Soft targets on disk. Owns open files until `close`. */
export interface SoftTargetStore {
  readonly classes: number;
  /** Most classes that a row lists. */
  readonly top: number;
  readonly rows: number;
  /** The soft targets of some rows, in the order of `rows`. */
  read(rows: Int32Array): Promise<SoftTargets>;
  close(): Promise<void>;
}

const classesKey = 'kd-spec.classes';
const topKey = 'kd-spec.top';
/** Rows of a record batch, the unit that is read and kept. */
export const softTargetBatchRows = 256;
/** Record batches that are kept: as many as two blocks of shuffled images touch, and some. */
const keptBatches = 96;

const floats = new Field('item', new Float32(), false);
const indicesType = new List(new Field('item', new Int32(), false));
const valuesType = new List(floats);
const tailType = new FixedSizeList(tailSize, floats);
const fields = [
  new Field('indices', indicesType, false),
  new Field('log_probabilities', valuesType, false),
  new Field('tail', tailType, false),
];

/**
 * Writes a teacher's soft targets as Arrow shards with the columns `indices: list<int32>`,
 * `log_probabilities: list<float32>` and `tail: fixed_size_list<float32>` (see `soft-targets.ts`).
 *
 * @param directory made when it does not exist
 * @param options.top the most classes that a row lists; of a row with no more classes all are listed
 * @throws KdSpecError `disk-full`, `not-readable`
 * Cost: one record batch in memory.
 */
export async function createSoftTargetWriter(
  directory: string,
  { classes, top, shardBytes = 64 * 2 ** 20 }: { classes: number; top: number; shardBytes?: number },
): Promise<SoftTargetWriter> {
  const width = Math.min(top, classes);
  const metadata = new Map([
    [classesKey, String(classes)],
    [topKey, String(width)],
  ]);
  const writer = await createShardWriter(directory, new Schema(fields, metadata), { shardBytes });
  const knots = tailSize;
  const room = () => ({
    rows: 0,
    indices: new Int32Array(softTargetBatchRows * width),
    values: new Float32Array(softTargetBatchRows * width),
    tails: new Float32Array(softTargetBatchRows * knots),
  });
  let batch = room();

  function add(logits: Float32Array): number {
    const constant = logSumExp(logits);
    const row = logits.map((value) => value - constant);
    const { indices, values } = topK(row, width);
    batch.indices.set(indices, batch.rows * width);
    batch.values.set(values, batch.rows * width);
    const isListed = new Uint8Array(classes);
    for (const index of indices) isListed[index] = 1;
    tailSums(row, isListed, batch.tails.subarray(batch.rows * knots, (batch.rows + 1) * knots));
    batch.rows++;
    return values.reduce((sum, value) => sum + Math.exp(value), 0);
  }

  async function flush(): Promise<void> {
    const { rows: length, indices, values, tails } = batch;
    if (length === 0) return;
    const valueOffsets = Int32Array.from({ length: length + 1 }, (_, row) => row * width);
    const entries = length * width;
    await writer.write([
      makeData({
        type: indicesType,
        length,
        valueOffsets,
        child: makeData({ type: new Int32(), length: entries, data: indices.subarray(0, entries) }),
      }),
      makeData({
        type: valuesType,
        length,
        valueOffsets,
        child: makeData({ type: new Float32(), length: entries, data: values.subarray(0, entries) }),
      }),
      makeData({
        type: tailType,
        length,
        child: makeData({
          type: new Float32(),
          length: length * knots,
          data: tails.subarray(0, length * knots),
        }),
      }),
    ]);
    batch = room();
  }

  return {
    async write(logits) {
      assert(logits.length % classes === 0, 'rows of another number of classes');
      const pause = createPause(undefined, 'soft targets');
      let mass = 0;
      for (let start = 0; start < logits.length; start += classes) {
        const turn = pause();
        if (turn) await turn;
        mass += add(logits.subarray(start, start + classes));
        if (batch.rows === softTargetBatchRows) await flush();
      }
      return mass;
    },
    async close() {
      await flush();
      return writer.close();
    },
    abort: () => writer.abort(),
  };
}

/**
 * Opens soft targets that {@link createSoftTargetWriter} wrote into the folders `part-*` of a folder, for reading by row.
 *
 * Record batches are read when they are needed, and the last ones are kept: a reader that shuffles images in blocks of
 * neighbouring rows reads each about once an epoch.
 *
 * @throws KdSpecError `not-found`, `predictions-invalid`, `shard-truncated`, `shard-corrupt`
 */
export async function openSoftTargets(directory: string): Promise<SoftTargetStore> {
  const parts = (await readdir(directory)).filter((name) => /^part-[\d-]+$/.test(name)).sort();
  const shards = (
    await Promise.all(
      parts.map((part) => indexArrowFiles(join(directory, part), 'soft targets of a teacher as Arrow files')),
    )
  ).flat();
  const classes = Number(shards[0]?.schema.metadata.get(classesKey));
  for (const { path, schema } of shards) {
    const names = schema.fields.map(({ name }) => name).join();
    if (classes > 0 && names === fields.map(({ name }) => name).join()) continue;
    throw new KdSpecError(
      'predictions-invalid',
      `${path} holds no soft targets of a teacher: found the columns ${names}`,
    );
  }
  const places = shards.flatMap((shard) => shard.batches.map((location) => ({ shard, location })));
  const starts: number[] = [];
  let rows = 0;
  for (const { location } of places) {
    starts.push(rows);
    rows += location.rows;
  }
  const handles = new Map<string, Awaited<ReturnType<typeof openShard>>>();
  const kept = new Map<number, Promise<DecodedBatch>>(); // the least recently used first

  async function decode(place: number): Promise<DecodedBatch> {
    const { shard, location } = places[place];
    let handle = handles.get(shard.path);
    if (!handle) {
      handle = await openShard(shard.path);
      handles.set(shard.path, handle);
    }
    const decoded = await readBatch(handle, shard, location);
    return decodedBatch(shard, decoded, starts[place], classes);
  }

  async function batchOf(row: number): Promise<DecodedBatch> {
    const place = placeOf(starts, row);
    const found = kept.get(place) ?? decode(place);
    kept.delete(place);
    kept.set(place, found);
    const [oldest] = kept.keys();
    if (kept.size > keptBatches && oldest !== undefined) kept.delete(oldest);
    return found;
  }

  return {
    classes,
    top: Number(shards[0]?.schema.metadata.get(topKey)),
    rows,
    async read(wanted) {
      const knots = tailSize;
      const offsets = new Int32Array(wanted.length + 1);
      const tails = new Float32Array(wanted.length * knots);
      const parts: { readonly indices: Int32Array; readonly values: Float32Array }[] = [];
      for (const [position, row] of wanted.entries()) {
        assert(row >= 0 && row < rows, `no soft target for row ${row} of ${rows}`);
        const batch = await batchOf(row);
        const local = row - batch.first;
        const [start, end] = [batch.offsets[local], batch.offsets[local + 1]];
        parts.push({
          indices: batch.indices.subarray(start, end),
          values: batch.values.subarray(start, end),
        });
        offsets[position + 1] = offsets[position] + end - start;
        tails.set(batch.tails.subarray(local * knots, (local + 1) * knots), position * knots);
      }
      const indices = new Int32Array(offsets[wanted.length]);
      const logProbabilities = new Float32Array(offsets[wanted.length]);
      for (const [position, part] of parts.entries()) {
        indices.set(part.indices, offsets[position]);
        logProbabilities.set(part.values, offsets[position]);
      }
      return { rows: wanted.length, offsets, indices, logProbabilities, tails };
    },
    async close() {
      kept.clear();
      for (const handle of handles.values()) await handle.close();
      handles.clear();
    },
  };
}

interface DecodedBatch {
  /** Index of its first row. */
  readonly first: number;
  readonly offsets: Int32Array;
  readonly indices: Int32Array;
  readonly values: Float32Array;
  readonly tails: Float32Array;
}

function decodedBatch(
  { path }: ShardIndex,
  batch: Awaited<ReturnType<typeof readBatch>>,
  first: number,
  classes: number,
): DecodedBatch {
  const [indices, values, tail] = fields.map(({ name }) => column(batch, name));
  const decoded = {
    first,
    offsets: indices?.valueOffsets as Int32Array,
    indices: indices?.children[0].values as Int32Array,
    values: values?.children[0].values as Float32Array,
    tails: tail?.children[0].values as Float32Array,
  };
  const isValid =
    decoded.indices instanceof Int32Array &&
    decoded.values instanceof Float32Array &&
    decoded.indices.every((index) => index >= 0 && index < classes) &&
    decoded.values.every((value) => !Number.isNaN(value));
  if (isValid) return decoded;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}, from row ${first} on: expected log-probabilities of ${classes} classes; delete ` +
      `${dirname(dirname(path))} and run kd-spec answer, which stores them again`,
  );
}

/** The last batch that starts at or before a row (binary search). */
function placeOf(starts: readonly number[], row: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (starts[middle] <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
