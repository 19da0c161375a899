import { CompressionType } from 'apache-arrow';
import { announcesWhatItHolds, uncompressedMetadata } from './arrow-metadata.js';
import { loadZstd, mostPerByte, type Unpack, unpackLz4Frames, zstdRoomBytes } from './unpacking.js';

/*
 * Record batches whose buffers are compressed, each on its own, as pandas and pyarrow write them unless told otherwise.
 *
 * A buffer begins with its length, unpacked, in 8 bytes; -1 says that it is stored as it is. apache-arrow has codecs
 * unpack without that length, so that a few bytes could become as many as there is memory for. Here each buffer is
 * unpacked into the bytes that it announced, once these are known to be possible, and the reader is given a message
 * that was never compressed.
 *
 * Source: Arrow columnar format 1.5, "Compression"; `Message.fbs`, BodyCompression.
 */

/** How the buffers of a message are compressed. */
export interface Packing extends PackingSize {
  readonly buffers: readonly PackedBuffer[];
}

/** What is packed together. */
export interface PackingSize {
  readonly codec: 'LZ4' | 'Zstandard';
  readonly packedBytes: number;
  /** Of the body that is made of it. */
  readonly bodyBytes: number;
}

interface PackedBuffer {
  /** Where it begins in the body, and how many bytes it takes there, 8 of them for its length. */
  readonly offset: number;
  readonly length: number;
  /** Its bytes, unpacked. */
  readonly size: number;
}

const lengthBytes = 8;
const storedAsIs = -1n;
/** Unpacked, a batch may have as many bytes, or as many times those in the file; more than both is made to fill memory. */
const usualBytes = 128 * 2 ** 20;
const usualRatio = 64;
const framingBytes = 8;
const codecs = new Map<CompressionType, Packing['codec']>([
  [CompressionType.LZ4_FRAME, 'LZ4'],
  [CompressionType.ZSTD, 'Zstandard'],
]);

/**
 * Finds how a batch is packed, and what it will be.
 *
 * @param batch of the metadata of its message
 * @param bodyBytes of the message
 * @param announced reads the 8 bytes at a place in the body
 * @returns undefined for a codec that is not known
 * @throws Error when a buffer lies outside, or announces more than its bytes can hold
 * Cost: what `announced` costs, for each buffer; nothing is unpacked.
 */
export async function findPacking(
  {
    compression: { type, method },
    buffers,
  }: {
    readonly compression: { readonly type: CompressionType; readonly method: number };
    readonly buffers: readonly { readonly offset: number; readonly length: number }[];
  },
  bodyBytes: number,
  announced: (offset: number) => Promise<bigint>,
): Promise<Packing | undefined> {
  const codec = codecs.get(type);
  if (codec === undefined || method !== 0) return undefined;
  const found: PackedBuffer[] = [];
  let packedBytes = 0;
  let unpackedBytes = 0;
  for (const { offset, length } of buffers) {
    if (!(offset >= 0 && length >= 0 && offset + length <= bodyBytes) || (length > 0 && length < lengthBytes))
      throw new Error(`a buffer of ${length} bytes lies outside its ${bodyBytes} bytes`);
    const size = length === 0 ? 0n : await announced(offset);
    const most = (length - lengthBytes) * (codec === 'LZ4' ? mostPerByte.lz4 : mostPerByte.zstd);
    if (size !== storedAsIs && (size < 0n || (size > 0n && size > BigInt(most))))
      throw new Error(
        `a buffer of ${length} bytes announces ${size}, unpacked, which ${codec} cannot make of it`,
      );
    const sizeBytes = size === storedAsIs ? length - lengthBytes : Number(size);
    found.push({ offset, length, size: sizeBytes });
    packedBytes += length;
    unpackedBytes += aligned(sizeBytes);
  }
  return { codec, buffers: found, packedBytes, bodyBytes: unpackedBytes };
}

/** Whether what is held at once may become as large as this. */
export function isUsualSize({ codec, packedBytes, bodyBytes }: PackingSize): boolean {
  const hasRoom = codec === 'LZ4' || packedBytes + bodyBytes <= zstdRoomBytes;
  return hasRoom && bodyBytes <= Math.max(usualBytes, usualRatio * packedBytes);
}

/**
 * Makes a message as it would be without compression.
 *
 * @param message its frame, metadata and body
 * @param packing as {@link findPacking} found it
 * @throws Error when a buffer is damaged or has another length than it announced
 * Cost: the unpacked message in memory; with Zstandard its largest buffer twice more.
 */
export async function unpackMessage(
  message: Uint8Array,
  { codec, buffers, bodyBytes }: Packing,
): Promise<Uint8Array> {
  const unpack: Unpack = codec === 'LZ4' ? unpackLz4Frames : await loadZstd();
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const metadataBytes = view.getInt32(4, true);
  const regions: { readonly offset: number; readonly length: number }[] = [];
  let end = 0;
  for (const { size } of buffers) {
    regions.push({ offset: end, length: size });
    end += aligned(size);
  }
  const metadata = uncompressedMetadata(
    message.subarray(framingBytes, framingBytes + metadataBytes),
    regions,
    bodyBytes,
  );
  if (metadata === undefined || !announcesWhatItHolds(metadata))
    throw new Error('its metadata contradict one another');

  const unpacked = new Uint8Array(framingBytes + metadata.length + bodyBytes);
  unpacked.set(message.subarray(0, framingBytes));
  new DataView(unpacked.buffer).setInt32(4, metadata.length, true);
  unpacked.set(metadata, framingBytes);
  const [from, to] = [framingBytes + metadataBytes, framingBytes + metadata.length];
  for (const [at, { offset, length, size }] of buffers.entries()) {
    if (length === 0) continue;
    const start = from + offset;
    const announced = view.getBigInt64(start, true);
    const bytes = message.subarray(start + lengthBytes, start + length);
    const target = unpacked.subarray(to + regions[at].offset, to + regions[at].offset + size);
    try {
      if (announced === storedAsIs && bytes.length === size) target.set(bytes);
      else if (announced === BigInt(size)) unpack(bytes, target);
      else throw new Error(`it announces ${announced} bytes instead of ${size}`);
    } catch (cause) {
      throw new Error(
        `buffer ${at}, compressed by ${codec}: ${cause instanceof Error ? cause.message : cause}`,
        { cause },
      );
    }
  }
  return unpacked;
}

const aligned = (bytes: number) => 8 * Math.ceil(bytes / 8);
