import { open, readFile, stat } from 'node:fs/promises';
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
  const bytes = await readFile(path);
  const invalid = (what: string) =>
    new KdSpecError('checkpoint-invalid', `${path}: ${what}; copy the file again or train the model again`);

  if (bytes.length < 8)
    throw invalid(`expected at least 8 bytes of safetensors header, found ${bytes.length}`);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  if (headerBytes > maxHeaderBytes || 8 + headerBytes > bytes.length) {
    const kind = foreignKind(bytes.subarray(0, 256));
    if (kind !== undefined)
      throw new KdSpecError('checkpoint-invalid', `expected a safetensors file at ${path}, but ${kind}`);
    throw invalid(`the header claims ${headerBytes} bytes, the file has ${bytes.length}`);
  }
  const entries = parseHeader(bytes.subarray(8, 8 + headerBytes), invalid);
  const dataBytes = bytes.length - 8 - headerBytes;

  const tensors = new Map<string, HostTensor>();
  let expectedStart = 0;
  // An empty tensor starts where the next one does, and comes before it.
  const inOrder = entries.toSorted(
    ([, { data_offsets: a }], [, { data_offsets: b }]) => a[0] - b[0] || a[1] - b[1],
  );
  for (const [name, { dtype, shape, data_offsets }] of inOrder) {
    const [start, end] = data_offsets;
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (start !== expectedStart)
      throw invalid(`tensor "${name}" starts at ${start}, expected ${expectedStart}`);
    if (end - start !== size * 4) {
      throw invalid(
        `tensor "${name}" of shape [${shape.join(', ')}] has ${end - start} bytes, expected ${size * 4}`,
      );
    }
    if (end > dataBytes)
      throw invalid(`tensor "${name}" ends at byte ${end} of ${dataBytes}: the file is cut off`);
    expectedStart = end;
    // A copy, so that the values are aligned and do not keep the whole file alive.
    const copy = new Uint8Array(size * 4);
    copy.set(bytes.subarray(8 + headerBytes + start, 8 + headerBytes + end));
    tensors.set(name, {
      shape,
      values: dtype === 'F32' ? new Float32Array(copy.buffer) : new Int32Array(copy.buffer),
    });
  }
  if (expectedStart !== dataBytes) throw invalid(`${dataBytes - expectedStart} bytes follow the last tensor`);
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
