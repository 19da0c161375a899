import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Data, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct } from 'apache-arrow';
import { assert } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { makeFolder } from '../core/make-folder.js';
import { encodeSchema } from './arrow-shard.js';

/** One finished shard: the file's name, its rows, its size and the hash of its bytes. */
export interface ShardRecord {
  readonly file: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** Writes record batches into shards of bounded size; see {@link createShardWriter}. */
export interface ShardWriter {
  /** Appends one record batch, given as the columns of the schema. */
  write(columns: readonly Data[]): Promise<void>;
  /** Ends the last shard, gives every shard its final name, and returns them in order. */
  close(): Promise<readonly ShardRecord[]>;
  /** Closes and removes what was written. */
  abort(): Promise<void>;
}

const endOfStream = Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0);

/**
 * Writes `data-00000-of-000NN.arrow` files (Arrow stream format) into a folder.
 *
 * The number of shards stands in their names and is known only at the end, so shards are written under a
 * provisional name and renamed by `close`. At least one shard is written, even without rows.
 *
 * @param directory the folder; made when it does not exist
 * @param schema columns and metadata
 * @param options.shardBytes a new shard begins before one grows beyond this many bytes (a single batch may)
 * @returns the writer; holds one open file and no rows
 * @throws KdSpecError `disk-full`, `not-readable`
 */
export async function createShardWriter(
  directory: string,
  schema: Schema,
  { shardBytes = 64 * 2 ** 20 }: { readonly shardBytes?: number } = {},
): Promise<ShardWriter> {
  const schemaMessage = encodeSchema(schema);
  const plainSchema = new Schema(schema.fields);
  const plainSchemaBytes = encodeSchema(plainSchema).length;
  const finished: ShardRecord[] = [];
  const provisionalName = (index: number) => join(directory, `data-${digits(index)}.arrow.partial`);
  const guarded = <T>(work: Promise<T>) =>
    work.catch((error: unknown) => {
      throw asFileError(error, directory, 'a folder to write into');
    });

  await guarded(makeFolder(directory));
  let shard = await openNext();

  async function openNext() {
    const handle: FileHandle = await guarded(open(provisionalName(finished.length), 'w'));
    const next = { handle, hash: createHash('sha256'), bytes: 0, rows: 0 };
    try {
      await append(next, schemaMessage);
    } catch (error) {
      await handle.close().catch(() => {});
      throw error;
    }
    return next;
  }

  async function append(
    to: { handle: FileHandle; hash: ReturnType<typeof createHash>; bytes: number },
    bytes: Uint8Array,
  ) {
    to.hash.update(bytes);
    to.bytes += bytes.length;
    await guarded(to.handle.writeFile(bytes));
  }

  async function finish() {
    await append(shard, endOfStream);
    await guarded(shard.handle.close());
    finished.push({ file: '', rows: shard.rows, bytes: shard.bytes, sha256: shard.hash.digest('hex') });
  }

  async function write(columns: readonly Data[]) {
    const rows = columns[0]?.length ?? 0;
    assert(
      columns.every((column) => column.length === rows),
      'columns of one batch differ in length',
    );
    const struct = makeData({ type: new Struct(plainSchema.fields), length: rows, children: [...columns] });
    const message = await encodeBatch(new RecordBatch(plainSchema, struct), plainSchemaBytes);
    if (shard.rows > 0 && shard.bytes + message.length + endOfStream.length > shardBytes) {
      await finish();
      shard = await openNext();
    }
    await append(shard, message);
    shard.rows += rows;
  }

  async function close() {
    await finish();
    const records = finished.map((record, index) => ({
      ...record,
      file: `data-${digits(index)}-of-${digits(finished.length)}.arrow`,
    }));
    for (const [index, { file }] of records.entries()) {
      await guarded(rename(provisionalName(index), join(directory, file)));
    }
    return records;
  }

  async function abort() {
    await shard.handle.close().catch(() => {});
    for (let index = 0; index <= finished.length; index++) await rm(provisionalName(index), { force: true });
  }

  return { write, close, abort };
}

/** A record batch as a message: a stream of it alone, without schema and end-of-stream marker. */
async function encodeBatch(batch: RecordBatch, schemaBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  // The writer's own `toUint8Array` merges neighbouring chunks that are views of the same memory, such as
  // two list columns with the same offsets, and so loses bytes (apache-arrow 21.2).
  for await (const chunk of RecordBatchStreamWriter.writeAll([batch])) chunks.push(chunk);
  const stream = Buffer.concat(chunks);
  return stream.subarray(schemaBytes, stream.length - endOfStream.length);
}

const digits = (value: number) => String(value).padStart(5, '0');
