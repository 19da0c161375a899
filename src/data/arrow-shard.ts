import { type FileHandle, open } from 'node:fs/promises';
import { Message, Schema, Table, tableToIPC } from 'apache-arrow';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import {
  announcesWhatItHolds,
  firstBlock,
  footerAnnouncesWhatItHolds,
  schemaMetadataOf,
} from './arrow-metadata.js';
import { findPacking, isUsualSize, type Packing, type PackingSize } from './arrow-packing.js';

/**
 * Random access to the record batches of one Arrow file, in stream or in file format.
 *
 * Both formats are a chain of messages: a continuation marker (4 bytes, all ones), the length of the
 * metadata (4 bytes), the metadata (a flatbuffer that says how long the body is and how many rows it
 * holds), the body; a length of 0 ends the chain. Walking the chain reads the metadata alone, so it costs
 * microseconds a batch, finds truncation with its row, and lets a reader draw batches in any order.
 * Bodies may be compressed, which is undone as a batch is read; see `arrow-packing.ts`.
 *
 * Source: Arrow columnar format 1.5, "IPC Streaming Format" and "IPC File Format".
 */
export interface ShardIndex {
  readonly path: string;
  readonly schema: Schema;
  readonly rows: number;
  readonly batches: readonly BatchLocation[];
  /** Where the values of dictionary-encoded (categorical) columns lie. */
  readonly dictionaries: readonly MessageLocation[];
  /** Whether it is in file format, in which batches may stand before their dictionaries, as Polars writes them. */
  readonly isFile: boolean;
  /** The schema message without its metadata (which can be large): what a decoder must see before a batch. */
  readonly schemaMessage: Uint8Array;
}

/** Where a message lies in its file. */
export interface MessageLocation {
  readonly offsetBytes: number;
  /** In the file. */
  readonly fileBytes: number;
  /** In memory: as many, or more where it is compressed. */
  readonly sizeBytes: number;
  /** How it is compressed, where it is. */
  readonly packing?: Packing | undefined;
}

/** Where one record batch lies in its file. */
export interface BatchLocation extends MessageLocation {
  readonly rows: number;
  /**
   * Where each buffer of its columns begins in the file; of a column of fixed width, a row can be read alone. None of a
   * compressed batch.
   */
  readonly bufferOffsets: readonly number[];
}

export const framingBytes = 8;
const continuationMarker = -1;
const fileMagic = 'ARROW1';
const footerEndBytes = 4 + fileMagic.length;
/** Enough for the metadata of a batch of a few columns, so that one read suffices. */
const metadataGuessBytes = 1024;
const metadataLimitBytes = 256 * 2 ** 20;
const rowsWithoutBytes = 65_536; // that a batch may have, such as lists of width 0
const announcementBytes = 4096; // that one read brings of the lengths before small buffers
/** Custom metadata of the batches that pyarrow 0.17 compressed, before the format knew how. */
const earlyCompression = 'ARROW:experimental_compression';

/**
 * Walks the messages of an Arrow file and returns where its record batches are.
 *
 * @param path a file in Arrow stream or file format, whose batches may be compressed by LZ4 or Zstandard
 * @returns the schema, and offset, size and rows of each batch
 * @throws KdSpecError `shard-truncated` with the row where the file ends, `shard-corrupt` when a message
 *   cannot be understood or the file is of another kind, `dataset-invalid` for batches that are compressed in another
 *   way, or too large when they are not, `not-found`
 * Cost: one read of about 1 KiB a batch, and one of 4 KiB a buffer where it is compressed; bodies are not read.
 */
export async function indexShard(path: string): Promise<ShardIndex> {
  const handle = await openShard(path);
  try {
    return await walkMessages(handle, path);
  } finally {
    await handle.close();
  }
}

/** Opens a shard for `readBatch`; the caller closes it. */
export async function openShard(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw asFileError(error, path, 'an Arrow shard');
  }
}

/** The bytes of a schema as the first message of a stream, without an end-of-stream marker. */
export function encodeSchema(schema: Schema): Uint8Array {
  return tableToIPC(new Table(schema), 'stream').subarray(0, -framingBytes);
}

async function walkMessages(handle: FileHandle, path: string): Promise<ShardIndex> {
  const size = (await handle.stat()).size;
  const start = await readAt(handle, 0, framingBytes);
  const isFile = Buffer.from(start).toString('latin1', 0, fileMagic.length) === fileMagic;
  const batches: BatchLocation[] = [];
  const dictionaries: MessageLocation[] = [];
  let ofDictionaries: PackingSize | undefined;
  let schema: Schema | undefined;
  let rows = 0;

  // Polars writes the schema without a message's frame: where messages begin stands in the footer.
  const begin =
    isFile && !(await beginsMessage(handle, framingBytes)) ? await firstOfFooter(handle) : undefined;

  for (let offset = begin ?? (isFile ? framingBytes : 0); ; ) {
    const head = await readAt(handle, offset, framingBytes + metadataGuessBytes);
    const kind = offset === 0 && head.length > 0 ? foreignKind(head) : undefined;
    if (kind !== undefined)
      throw new KdSpecError('shard-corrupt', `expected an Arrow file at ${path}, but ${kind}`);
    if (head.length < framingBytes) throw truncated(path, size, rows);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    const metadataBytes = view.getInt32(4, true);
    if (view.getInt32(0, true) !== continuationMarker || metadataBytes < 0) {
      throw corrupt(path, `there is no Arrow message at byte ${offset} (row ${rows})`);
    }
    if (metadataBytes === 0) break;
    if (offset + framingBytes + metadataBytes > size) throw truncated(path, size, rows);
    if (metadataBytes > metadataLimitBytes) {
      throw corrupt(
        path,
        `the message at byte ${offset} (row ${rows}) claims ${metadataBytes} bytes of metadata`,
      );
    }

    const metadata =
      framingBytes + metadataBytes <= head.length
        ? head.subarray(framingBytes, framingBytes + metadataBytes)
        : await readAt(handle, offset + framingBytes, metadataBytes);
    const message = decodeMetadata(metadata, path, offset, rows);
    const bodyStart = offset + framingBytes + metadataBytes;
    const fileBytes = framingBytes + metadataBytes + message.bodyBytes;
    if (offset + fileBytes > size) throw truncated(path, size, rows);
    if (message.schema) schema = message.schema;
    else {
      const packing = await packingOf(message, handle, { path, offset, row: rows, bodyStart });
      if (packing && message.isDictionary) ofDictionaries = sizeWith(ofDictionaries, packing);
      const together = message.isDictionary ? ofDictionaries : packing;
      if (together && !isUsualSize(together)) throw tooLarge(path, rows, together, message.isDictionary);
      const { bodyBytes } = packing ?? message;
      expectRows(message.length, bodyBytes, { path, offset, row: rows });
      const sizeBytes = framingBytes + metadataBytes + bodyBytes;
      const location = { offsetBytes: offset, fileBytes, sizeBytes, packing };
      if (message.isDictionary) dictionaries.push(location);
      else {
        const bufferOffsets = packing ? [] : message.buffers.map((buffer) => bodyStart + buffer.offset);
        batches.push({ ...location, rows: message.length, bufferOffsets });
        rows += message.length;
      }
    }
    offset += fileBytes;
  }
  // Some writers of the file format leave the schema message out: it stands in the footer, too.
  if (!schema && isFile) schema = await schemaOfFooter(handle, path);
  if (!schema) throw corrupt(path, 'it has no schema');
  try {
    return {
      path,
      schema,
      rows,
      batches,
      dictionaries,
      isFile,
      schemaMessage: encodeSchema(new Schema(schema.fields)),
    };
  } catch (cause) {
    throw corrupt(path, 'its schema cannot be decoded', cause); // dictionaries that contradict one another
  }
}

/** A batch is read with all dictionaries that it may refer to. */
function sizeWith(
  before: PackingSize | undefined,
  { codec, packedBytes, bodyBytes }: PackingSize,
): PackingSize {
  return {
    codec,
    packedBytes: packedBytes + (before?.packedBytes ?? 0),
    bodyBytes: bodyBytes + (before?.bodyBytes ?? 0),
  };
}

async function beginsMessage(handle: FileHandle, offset: number): Promise<boolean> {
  const start = await readAt(handle, offset, 4);
  return start.length === 4 && new DataView(start.buffer).getInt32(0, true) === continuationMarker;
}

/** Where the first batch stands, by a sound footer; undefined where there is none. */
async function firstOfFooter(handle: FileHandle): Promise<number | undefined> {
  const start = await readFooter(handle)
    .then(firstBlock)
    .catch(() => undefined);
  return start !== undefined && start >= framingBytes && Number.isSafeInteger(start) ? start : undefined;
}

/** The file ends with the footer, its length in 4 bytes, and the magic word. */
async function readFooter(handle: FileHandle): Promise<Uint8Array> {
  const { size } = await handle.stat();
  const end = await readAt(handle, Math.max(0, size - footerEndBytes), footerEndBytes);
  const length = end.length < footerEndBytes ? 0 : new DataView(end.buffer).getInt32(0, true);
  if (!(length > 0 && length <= size - footerEndBytes && length <= metadataLimitBytes)) {
    throw new Error(`a footer of ${length} bytes`);
  }
  const footer = await readAt(handle, size - footerEndBytes - length, length);
  if (!footerAnnouncesWhatItHolds(footer)) throw new Error('it announces more than it holds');
  return footer;
}

async function schemaOfFooter(handle: FileHandle, path: string): Promise<Schema> {
  try {
    const header: unknown = Message.decode(schemaMetadataOf(await readFooter(handle))).header();
    if (header instanceof Schema) return header;
  } catch (cause) {
    throw corrupt(path, 'its footer cannot be decoded', cause);
  }
  throw corrupt(path, 'its footer has no schema');
}

/** A message by its metadata: a schema, or a batch of rows or of values of a dictionary. */
type DecodedMessage = { readonly bodyBytes: number } & (
  | { readonly schema: Schema }
  | {
      readonly schema?: never;
      readonly isDictionary: boolean;
      readonly length: number;
      readonly compression: Compression | null;
      readonly buffers: readonly { readonly offset: number; readonly length: number }[];
    }
);
type Compression = Parameters<typeof findPacking>[0]['compression'];

/** Where a message stands, for messages. */
interface MessagePlace {
  readonly path: string;
  readonly offset: number;
  readonly row: number;
}

function decodeMetadata(metadata: Uint8Array, path: string, offset: number, row: number): DecodedMessage {
  if (!announcesWhatItHolds(metadata)) {
    throw corrupt(path, `the message at byte ${offset} (row ${row}) announces more than it holds`);
  }
  let message: Message;
  let header: unknown;
  try {
    message = Message.decode(metadata);
    header = message.header(); // decoded now, and with checks of its own
  } catch (cause) {
    if (cause instanceof Error && /unrecognized type/i.test(cause.message)) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}: a column has a type that is not known (${cause.message}), such as a list view or run-end encoding: ` +
          'leave it out or convert it',
        { cause },
      );
    }
    throw corrupt(path, `the message at byte ${offset} (row ${row}) cannot be decoded`, cause);
  }
  // A negative length would lead back to where the walk has been.
  if (!(message.bodyLength >= 0)) {
    throw corrupt(path, `the message at byte ${offset} (row ${row}) has a negative length`);
  }
  if (header instanceof Schema) return { bodyBytes: message.bodyLength, schema: header };
  const isDictionary = message.isDictionaryBatch();
  const batch = message.isDictionaryBatch()
    ? message.header().data
    : message.isRecordBatch()
      ? message.header()
      : undefined;
  if (batch === undefined) {
    throw corrupt(path, `the message at byte ${offset} (row ${row}) is neither a schema nor a batch`);
  }
  if (message.metadata.has(earlyCompression)) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: its record batches are compressed as pyarrow 0.17 did: write it again with pyarrow 1 or later`,
    );
  }
  const { compression, length, buffers } = batch;
  return { bodyBytes: message.bodyLength, isDictionary, length, compression, buffers };
}

/** How a batch is compressed: the lengths before its buffers are read. */
async function packingOf(
  {
    bodyBytes,
    compression,
    buffers,
  }: Pick<Extract<DecodedMessage, { length: number }>, 'bodyBytes' | 'compression' | 'buffers'>,
  handle: FileHandle,
  { path, offset, row, bodyStart }: MessagePlace & { readonly bodyStart: number },
): Promise<Packing | undefined> {
  if (!compression) return undefined;
  let window: DataView = new DataView(new ArrayBuffer(0));
  let windowStart = 0;
  const announced = async (start: number) => {
    if (!(start >= windowStart && start + 8 <= windowStart + window.byteLength)) {
      const bytes = await readAt(handle, bodyStart + start, announcementBytes);
      if (bytes.length < 8) throw truncated(path, bodyStart + start, row);
      window = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      windowStart = start;
    }
    return window.getBigInt64(start - windowStart, true);
  };
  const packing = await findPacking({ compression, buffers }, bodyBytes, announced).catch(
    (cause: unknown) => {
      if (cause instanceof KdSpecError) throw cause;
      throw corrupt(path, `the message at byte ${offset} (row ${row}): ${messageOf(cause)}`, cause);
    },
  );
  if (packing !== undefined) return packing;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: its record batches are compressed by a codec that is not known (${compression.type}): write it again with ` +
      'compression="lz4", "zstd" or "uncompressed"',
  );
}

/**
 * Refuses rows that are not there, through which a reader would count: a row takes one bit of a buffer at the least, where
 * any column has one.
 */
function expectRows(rows: number, bodyBytes: number, { path, offset, row }: MessagePlace): void {
  if (rows >= 0 && rows <= Math.max(rowsWithoutBytes, 8 * bodyBytes)) return;
  throw corrupt(
    path,
    `the message at byte ${offset} (row ${row}) ` +
      (rows >= 0 ? `claims ${rows} rows in ${bodyBytes} bytes` : 'has a negative number of rows'),
  );
}

/** Reads up to `length` bytes; fewer only at the end of the file. */
export async function readAt(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) return bytes.subarray(0, done);
    done += bytesRead;
  }
  return bytes;
}

export function truncated(path: string, sizeBytes: number, row: number): KdSpecError {
  return new KdSpecError(
    'shard-truncated',
    `${path} ends at byte ${sizeBytes}, after row ${row}, before its end-of-stream marker: ` +
      'copy the file again, or make the data again',
  );
}

function tooLarge(path: string, row: number, { bodyBytes }: PackingSize, isDictionary: boolean): KdSpecError {
  return new KdSpecError(
    'dataset-invalid',
    `${path}: the ${isDictionary ? 'dictionaries up to' : 'record batch at'} row ${row} would take ` +
      `${bodyBytes.toLocaleString('en')} bytes of memory, unpacked, which is too much at once: ` +
      (isDictionary
        ? 'write the categorical columns as plain values'
        : 'write it again in smaller batches (pyarrow.feather.write_feather(table, path, chunksize=1000))'),
  );
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function corrupt(path: string, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError(
    'shard-corrupt',
    `${path} is not the Arrow file that was written: ${what}; copy the file again, or make the data again`,
    { cause },
  );
}
