import type { FileHandle } from 'node:fs/promises';
import { type Data, type RecordBatch, RecordBatchReader } from 'apache-arrow';
import { unpackMessage } from './arrow-packing.js';
import {
  type BatchLocation,
  corrupt,
  framingBytes,
  type MessageLocation,
  messageOf,
  readAt,
  type ShardIndex,
  truncated,
} from './arrow-shard.js';

/**
 * Reads and decodes one record batch.
 *
 * The columns are views of one freshly allocated buffer: nothing is copied after the read, or after it is unpacked.
 *
 * @param options.withDictionaries reads the dictionaries that it may refer to too, without which categorical columns
 * have no values
 * @param options.columns the only ones that are read, by name: the values of the others are zeros
 * @throws KdSpecError `shard-truncated` when the file became shorter than it was, `shard-corrupt`
 * Cost: the batch in memory, `location.sizeBytes`, beside what it takes in the file where it is compressed.
 */
export async function readBatch(
  handle: FileHandle,
  shard: ShardIndex,
  location: BatchLocation,
  {
    withDictionaries = false,
    columns,
  }: { readonly withDictionaries?: boolean; readonly columns?: readonly string[] | undefined } = {},
): Promise<RecordBatch> {
  const { dictionaries, isFile } = shard;
  const before = dictionaries.filter(({ offsetBytes }) => isFile || offsetBytes < location.offsetBytes);
  const messages: Uint8Array[] = [];
  for (const dictionary of withDictionaries ? before : []) {
    const reading = unpackedDictionaries.get(dictionary) ?? readMessage(handle, shard.path, dictionary);
    if (dictionary.packing) unpackedDictionaries.set(dictionary, reading);
    messages.push(await reading);
  }
  const isPartial = columns !== undefined && location.packing === undefined;
  const message = isPartial
    ? await readFrame(handle, shard.path, location)
    : await readMessage(handle, shard.path, location);
  messages.push(message);
  const batch = decodeBatch(shard, location, messages);
  if (isPartial) {
    const parts = columns.flatMap((name) => batch.getChild(name)?.data ?? []).flatMap(buffersOf);
    // A body that begins at no multiple of 8 bytes is copied while it is decoded.
    if (parts.some(({ buffer, byteLength }) => byteLength > 0 && buffer !== message.buffer))
      return readBatch(handle, shard, location, { withDictionaries });
    for (const part of parts) {
      const bytes = await readAt(handle, location.offsetBytes + part.byteOffset, part.byteLength);
      if (bytes.length < part.byteLength) throw truncated(shard.path, location.offsetBytes, 0);
      message.set(bytes, part.byteOffset);
    }
  }
  return batch;
}

function decodeBatch(
  { path, schemaMessage }: ShardIndex,
  { offsetBytes, rows }: BatchLocation,
  messages: readonly Uint8Array[],
): RecordBatch {
  try {
    const [batch] = RecordBatchReader.from([schemaMessage, ...messages]);
    if (batch?.numRows === rows) return batch;
  } catch (cause) {
    throw corrupt(path, `the record batch at byte ${offsetBytes} cannot be decoded`, cause);
  }
  throw corrupt(path, `the record batch at byte ${offsetBytes} has lost its rows`);
}

/** A message without its body: as large as the whole, and memory that nothing is written to is not taken. */
async function readFrame(
  handle: FileHandle,
  path: string,
  { offsetBytes, fileBytes }: MessageLocation,
): Promise<Uint8Array> {
  const message = new Uint8Array(fileBytes);
  const framing = await readAt(handle, offsetBytes, framingBytes);
  if (framing.length < framingBytes) throw truncated(path, offsetBytes, 0);
  const metadataBytes = new DataView(framing.buffer, framing.byteOffset).getInt32(4, true);
  const head = await readAt(handle, offsetBytes, framingBytes + metadataBytes);
  if (head.length > fileBytes || head.length < framingBytes + metadataBytes)
    throw truncated(path, offsetBytes, 0);
  message.set(head);
  return message;
}

/** The buffers of a column, of its children too. */
function buffersOf({
  valueOffsets,
  values,
  nullBitmap,
  variadicBuffers,
  children,
}: Data): readonly ArrayBufferView[] {
  return [
    ...[valueOffsets, values, nullBitmap, ...(variadicBuffers ?? [])].filter((one) =>
      ArrayBuffer.isView(one),
    ),
    ...children.flatMap(buffersOf),
  ];
}

/** Dictionaries that were compressed, which every batch needs again, as long as there is the index of their file. */
const unpackedDictionaries = new WeakMap<MessageLocation, Promise<Uint8Array>>();

async function readMessage(
  handle: FileHandle,
  path: string,
  { offsetBytes, fileBytes, packing }: MessageLocation,
): Promise<Uint8Array> {
  const message = await readAt(handle, offsetBytes, fileBytes);
  if (message.length < fileBytes) throw truncated(path, offsetBytes, 0);
  if (packing === undefined) return message;
  return unpackMessage(message, packing).catch((cause: unknown) => {
    throw corrupt(path, `the message at byte ${offsetBytes}, ${messageOf(cause)}`, cause);
  });
}
