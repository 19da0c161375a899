import { open, stat } from 'node:fs/promises';
import { KdSpecError } from '../core/errors.js';
import { foreignKind } from '../core/file-kind.js';

/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header
 * `{ name: { dtype, shape, data_offsets } }` with an optional string-only `__metadata__`, then raw bytes.
 *
 * kd-spec writes float32 and int32 tensors and reads the same; Python's `safetensors` reads what is written.
 */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const maxHeaderBytes = 100 * 1024 * 1024;
const mostAtOnce = 2 ** 30; // bytes of a read

/**
 * Writes tensors to `path`, in the order given, and flushes the file to disk.
 *
 * @param metadata free strings, kept in the header
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'kd-spec', ...metadata } };
  let offset = 0;
  for (const [name, { shape, values }] of tensors) {
    const dtype = values instanceof Float32Array ? 'F32' : 'I32';
    header[name] = { dtype, shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padding = Buffer.alloc((8 - (json.length % 8)) % 8, ' '); // tensors start at a multiple of 8 bytes
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length + padding.length));

  const file = await open(path, 'w');
  try {
    for (const chunk of [length, json, padding]) await file.writeFile(chunk);
    for (const { values } of tensors.values()) {
      await file.writeFile(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Reads every tensor of a safetensors file.
 *
 * @throws KdSpecError `not-found` when there is no file, `checkpoint-invalid` when the header does not parse,
 * a type other than F32 or I32 occurs, or ranges overlap, leave gaps or run past the end of the file
 */
export async function readSafetensors(path: string): Promise<ReadonlyMap<string, HostTensor>> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isFile()) {
    throw new KdSpecError(
      'not-found',
      `no safetensors file at ${path}: train the model first, or check the path`,
    );
  }
  const invalid = (what: string) =>
    new KdSpecError('checkpoint-invalid', `${path}: ${what}; copy the file again or train the model again`);
  await using file = await open(path);
  const read = async (position: number, length: number) => {
    const bytes = Buffer.from(new ArrayBuffer(length)); // aligned, and no part of a larger array
    for (let done = 0; done < length; ) {
      const some = Math.min(length - done, mostAtOnce);
      const { bytesRead } = await file.read(bytes, done, some, position + done);
      if (bytesRead === 0) throw invalid(`it ends at byte ${position + done}: the file is cut off`);
      done += bytesRead;
    }
    return bytes;
  };

  const { size } = info;
  if (size < 8) throw invalid(`expected at least 8 bytes of safetensors header, found ${size}`);
  const headerBytes = Number((await read(0, 8)).readBigUInt64LE(0));
  if (headerBytes > maxHeaderBytes || 8 + headerBytes > size) {
    const kind = foreignKind(await read(0, Math.min(256, size)));
    if (kind !== undefined)
      throw new KdSpecError('checkpoint-invalid', `expected a safetensors file at ${path}, but ${kind}`);
    throw invalid(`the header claims ${headerBytes} bytes, the file has ${size}`);
  }
  const entries = parseHeader(await read(8, headerBytes), invalid);
  const dataBytes = size - 8 - headerBytes;

  let expectedStart = 0;
  // An empty tensor starts where the next one does, and comes before it.
  const inOrder = entries.toSorted(
    ([, { data_offsets: a }], [, { data_offsets: b }]) => a[0] - b[0] || a[1] - b[1],
  );
  for (const [name, { shape, data_offsets }] of inOrder) {
    const [start, end] = data_offsets;
    const bytes = 4 * shape.reduce((product, extent) => product * extent, 1);
    if (start !== expectedStart)
      throw invalid(`tensor "${name}" starts at ${start}, expected ${expectedStart}`);
    if (end - start !== bytes) {
      throw invalid(
        `tensor "${name}" of shape [${shape.join(', ')}] has ${end - start} bytes, expected ${bytes}`,
      );
    }
    if (end > dataBytes)
      throw invalid(`tensor "${name}" ends at byte ${end} of ${dataBytes}: the file is cut off`);
    expectedStart = end;
  }
  if (expectedStart !== dataBytes) throw invalid(`${dataBytes - expectedStart} bytes follow the last tensor`);

  const tensors = new Map<string, HostTensor>();
  for (const [name, { dtype, shape, data_offsets }] of inOrder) {
    const [start, end] = data_offsets;
    const { buffer } = await read(8 + headerBytes + start, end - start);
    tensors.set(name, { shape, values: dtype === 'F32' ? new Float32Array(buffer) : new Int32Array(buffer) });
  }
  return tensors;
}

function parseHeader(json: Buffer, invalid: (what: string) => KdSpecError): [string, HeaderEntry][] {
  let header: unknown;
  try {
    header = JSON.parse(json.toString('utf8'));
  } catch {
    throw invalid('the header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw invalid('the header is not a JSON object');
  }
  return Object.entries(header).flatMap(([name, entry]): [string, HeaderEntry][] => {
    if (name === '__metadata__') return [];
    if (!isHeaderEntry(entry)) throw invalid(`tensor "${name}" has no valid dtype, shape and data_offsets`);
    if (entry.dtype !== 'F32' && entry.dtype !== 'I32') {
      throw invalid(`tensor "${name}" has type ${entry.dtype}, expected F32 or I32`);
    }
    return [[name, entry]];
  });
}

function isHeaderEntry(entry: unknown): entry is HeaderEntry {
  if (typeof entry !== 'object' || entry === null) return false;
  const { dtype, shape, data_offsets: offsets } = entry as Partial<Record<keyof HeaderEntry, unknown>>;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  return (
    typeof dtype === 'string' &&
    Array.isArray(shape) &&
    shape.every(isCount) &&
    Array.isArray(offsets) &&
    offsets.length === 2 &&
    offsets.every(isCount)
  );
}
