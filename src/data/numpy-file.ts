import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import { halfToNumber } from '../math/half.js';

/** An array of a NumPy file, of which some rows are read at a time. */
export interface NumpyArray {
  /** Its name in an archive; in a file of its own that of the file. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: 'floats' | 'integers' | 'texts' | 'other';
  /** Why its values cannot be read; what reads them throws it. */
  readonly problem?: KdSpecError;
  /**
   * Reads rows as numbers.
   *
   * @returns (count, ...) in the order of the file
   * @throws KdSpecError `shard-truncated`
   */
  floats(first: number, count: number): Promise<Float32Array>;
  /** Reads rows of a vector of integers or texts as texts. */
  texts(first: number, count: number): Promise<readonly string[]>;
}

/** The arrays of a NumPy file; `close` removes what had to be unpacked. */
export interface NumpyFile {
  readonly path: string;
  readonly arrays: readonly NumpyArray[];
  close(): Promise<void>;
}

/** Where the bytes of an array lie. */
interface Place {
  readonly file: FileHandle;
  readonly start: number;
  readonly bytes: number;
}

const magic = '\x93NUMPY';
const headerLimitBytes = 64 * 1024;
const endOfZipBytes = 22;
const commentLimitBytes = 65_535;
const directoryLimitBytes = 2 ** 24;
const arrayLimit = 1000; // in an archive

/**
 * Opens a `.npy` file or a `.npz` archive of some, of either byte order. A matrix may be in the order of Fortran, column
 * by column. Texts may be `U` or `S`. What is none of these, such as a pickle of Python objects, has a `problem`, so that
 * it does no harm where nobody needs it.
 *
 * @throws KdSpecError `not-found`, `shard-truncated`, `shard-corrupt`, `dataset-invalid`
 * Cost: headers alone; a compressed archive (savez_compressed) is unpacked into the system's temporary folder.
 */
export async function openNumpy(path: string): Promise<NumpyFile> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw asFileError(error, path, 'a NumPy file');
  });
  const unpacked = { folder: undefined as string | undefined, files: [] as FileHandle[] };
  const close = async () => {
    await Promise.all([file, ...unpacked.files].map((handle) => handle.close()));
    if (unpacked.folder !== undefined) await rm(unpacked.folder, { recursive: true, force: true });
  };
  try {
    const { size } = await file.stat();
    const head = await readAt(file, 0, Math.min(64, size), path);
    if (head.toString('latin1', 0, magic.length) === magic) {
      const name = basename(path).replace(/\.npy$/i, '');
      return { path, arrays: [await openArray({ file, start: 0, bytes: size }, name, path)], close };
    }
    if (head.toString('latin1', 0, 2) !== 'PK') {
      const kind = foreignKind(head) ?? 'it is of another kind';
      throw new KdSpecError('dataset-invalid', `expected a NumPy file (.npy, .npz) at ${path}, but ${kind}`);
    }
    const arrays: NumpyArray[] = [];
    for (const entry of await zipEntries(file, size, path)) {
      const { name } = entry;
      if (!name.endsWith('.npy')) continue;
      const place = entry.isPacked ? await unpack(entry, path, unpacked) : { ...entry, file };
      arrays.push(await openArray(place, name.slice(0, -'.npy'.length), path));
    }
    return { path, arrays, close };
  } catch (error) {
    await close();
    throw asFileError(error, path, 'a NumPy file');
  }
}

/** Reads the header of an array: a dictionary of Python as text. */
async function openArray({ file, start, bytes }: Place, name: string, path: string): Promise<NumpyArray> {
  const place = `${path}${path.endsWith('.npy') ? '' : `, array ${name}`}`;
  const fixed = await readAt(file, start, Math.min(12, bytes), place);
  if (fixed.length < 12 || fixed.toString('latin1', 0, magic.length) !== magic)
    throw corrupt(place, 'it has no header');
  const isShort = fixed[6] === 1;
  const length = isShort ? fixed.readUInt16LE(8) : fixed.readUInt32LE(8);
  const textStart = isShort ? 10 : 12;
  if (length > Math.min(headerLimitBytes, bytes - textStart))
    throw corrupt(place, `a header of ${length} bytes`);
  const text = (await readAt(file, start + textStart, length, place)).toString('latin1');
  const type = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(text)?.[1];
  const extents = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1];
  if (order === undefined || extents === undefined) throw corrupt(place, 'its header cannot be read');
  const shape = extents
    .split(',')
    .map((extent) => extent.trim())
    .filter((extent) => extent !== '')
    .map((extent) => (/^\d{1,15}$/.test(extent) ? Number(extent) : Number.NaN));
  if (!shape.every(Number.isSafeInteger)) throw corrupt(place, `a shape of (${extents})`);
  const [, endian, code, size] = /^([<>|=]?)([a-zA-Z])(\d{0,9})$/.exec(type ?? '') ?? [];
  const kinds = { f: 'floats', i: 'integers', u: 'integers', U: 'texts', S: 'texts' } as const;
  const kind = code !== undefined && code in kinds ? kinds[code as keyof typeof kinds] : undefined;
  const itemBytes = Number(size) * (code === 'U' ? 4 : 1);
  const problem = (what: string): NumpyArray => {
    const error = new KdSpecError('dataset-invalid', `${place}: ${what}`);
    const refuse = async () => {
      throw error;
    };
    return { name, shape, kind: 'other', problem: error, floats: refuse, texts: refuse };
  };
  const isKnown =
    kind === 'texts' ? itemBytes >= 1 && itemBytes <= 2 ** 20 : [1, 2, 4, 8].includes(itemBytes);
  if (kind === undefined || !isKnown || (kind === 'floats' && itemBytes === 1)) {
    const advice =
      code === 'O'
        ? 'objects are pickles: use numbers, or texts of a fixed length (astype(str))'
        : 'use float32, integers or texts';
    return problem(`expected numbers or texts, found the type ${type ?? 'of a record'}: ${advice}`);
  }
  const isColumns = order === 'True' && shape.length > 1;
  if (isColumns && shape.length > 2)
    return problem('expected rows one after the other, found columns: save numpy.ascontiguousarray(...)');
  const dataStart = start + textStart + length;
  const rowValues = shape.slice(1).reduce((product, extent) => product * extent, 1);
  const rowBytes = rowValues * itemBytes;
  const rows = shape[0] ?? 1;
  if (rows > 0 && rowBytes === 0) throw corrupt(place, `a shape of (${extents}), rows of no values`);
  if (!(rows * rowBytes <= bytes - textStart - length)) {
    throw new KdSpecError(
      'shard-truncated',
      `${place}: expected ${shape.join(' x ')} values of ${itemBytes} bytes, found ${bytes - textStart - length} bytes: copy it again`,
    );
  }
  const swapBytes = endian === '>' ? swaps[code === 'S' ? 1 : code === 'U' ? 4 : itemBytes] : undefined;
  const rowsAt = async (first: number, count: number) => {
    const data = isColumns
      ? await columnsAt(first, count)
      : await readAt(file, dataStart + first * rowBytes, count * rowBytes, place);
    return swapBytes?.(data) ?? data;
  };
  /** The same rows, of which each number lies in a column. */
  const columnsAt = async (first: number, count: number) => {
    const data = Buffer.alloc(count * rowBytes);
    for (let column = 0; column < rowValues; column++) {
      const from = dataStart + (column * rows + first) * itemBytes;
      const values = await readAt(file, from, count * itemBytes, place);
      for (let row = 0; row < count; row++)
        values.copy(data, row * rowBytes + column * itemBytes, row * itemBytes, (row + 1) * itemBytes);
    }
    return data;
  };
  const numberAt = numberReader(String(code), itemBytes);
  return {
    name,
    shape,
    kind,
    async floats(first, count) {
      const data = await rowsAt(first, count);
      const out = new Float32Array(count * rowValues); // (count, ...)
      for (let at = 0; at < out.length; at++) out[at] = Number(numberAt(data, at * itemBytes));
      return out;
    },
    async texts(first, count) {
      const data = await rowsAt(first, count);
      return Array.from({ length: count }, (_, at) => {
        const item = data.subarray(at * itemBytes, (at + 1) * itemBytes);
        return kind === 'texts' ? textOf(item, code === 'U') : String(numberAt(data, at * itemBytes));
      });
    },
  };
}

/** What turns round the bytes of each value, by their number. */
const swaps: Partial<Record<number, (data: Buffer) => Buffer>> = {
  2: (data) => data.swap16(),
  4: (data) => data.swap32(),
  8: (data) => data.swap64(),
};

function numberReader(code: string, bytes: number): (data: Buffer, at: number) => number | bigint {
  switch (`${code}${bytes}`) {
    case 'f2':
      return (data, at) => halfToNumber(data.readUInt16LE(at));
    case 'f4':
      return (data, at) => data.readFloatLE(at);
    case 'f8':
      return (data, at) => data.readDoubleLE(at);
    case 'i8':
      return (data, at) => data.readBigInt64LE(at);
    case 'u8':
      return (data, at) => data.readBigUInt64LE(at);
    default:
      return code === 'i'
        ? (data, at) => data.readIntLE(at, bytes)
        : (data, at) => data.readUIntLE(at, bytes);
  }
}

/** A text of a fixed length, filled up with zeros. */
function textOf(item: Buffer, isWide: boolean): string {
  if (!isWide) return item.toString('utf8').replace(/\0+$/, '');
  let text = '';
  for (let at = 0; at < item.length; at += 4) {
    const point = item.readUInt32LE(at);
    if (point === 0) break;
    text += point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd';
  }
  return text;
}

/** A file of an archive: where its bytes are, and how many they become. */
interface ZipEntry {
  readonly name: string;
  readonly start: number;
  readonly bytes: number;
  readonly isPacked: boolean;
  readonly unpackedBytes: number;
}

/** The files of a ZIP archive, by its directory. Source: PKWARE's APPNOTE 6.3, sections 4.3 and 4.5.3 (ZIP64). */
async function zipEntries(file: FileHandle, size: number, path: string): Promise<readonly ZipEntry[]> {
  const tailBytes = Math.min(size, endOfZipBytes + commentLimitBytes + 20);
  const tail = await readAt(file, size - tailBytes, tailBytes, path);
  const end = tail.lastIndexOf('PK\x05\x06', tail.length - endOfZipBytes, 'latin1');
  if (end < 0)
    throw new KdSpecError(
      'shard-truncated',
      `${path} ends without the directory of an archive: copy it again`,
    );
  let count = tail.readUInt16LE(end + 10);
  let bytes = tail.readUInt32LE(end + 12);
  let start = tail.readUInt32LE(end + 16);
  if (end >= 20 && tail.toString('latin1', end - 20, end - 16) === 'PK\x06\x07') {
    const record = await readAt(file, safe(tail.readBigUInt64LE(end - 12), path), 56, path);
    count = safe(record.readBigUInt64LE(32), path);
    bytes = safe(record.readBigUInt64LE(40), path);
    start = safe(record.readBigUInt64LE(48), path);
  }
  if (count > arrayLimit || bytes > directoryLimitBytes || start + bytes > size) {
    throw corrupt(path, `a directory of ${count} files in ${bytes} bytes`);
  }
  const directory = await readAt(file, start, bytes, path);
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + 46 > directory.length || directory.toString('latin1', at, at + 4) !== 'PK\x01\x02')
      throw corrupt(path, 'its directory is damaged');
    const method = directory.readUInt16LE(at + 10);
    const nameBytes = directory.readUInt16LE(at + 28);
    const extraBytes = directory.readUInt16LE(at + 30);
    const name = directory.toString('utf8', at + 46, at + 46 + nameBytes);
    const sizes = {
      packed: directory.readUInt32LE(at + 20),
      unpacked: directory.readUInt32LE(at + 24),
      header: directory.readUInt32LE(at + 42),
    };
    readZip64(directory.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes), sizes, path);
    at += 46 + nameBytes + extraBytes + directory.readUInt16LE(at + 32);
    if (method !== 0 && method !== 8) throw corrupt(path, `${name} is packed by method ${method}`);
    const local = await readAt(file, sizes.header, Math.min(30, Math.max(0, size - sizes.header)), path);
    if (local.length < 30) throw corrupt(path, `${name} lies outside it`);
    const first = sizes.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    if (first + sizes.packed > size) throw corrupt(path, `${name} lies outside it`);
    entries.push({
      name,
      start: first,
      bytes: sizes.packed,
      isPacked: method === 8,
      unpackedBytes: sizes.unpacked,
    });
  }
  return entries;
}

/** Replaces sizes that do not fit into 32 bits by those of the extra field. */
function readZip64(
  extra: Buffer,
  sizes: { packed: number; unpacked: number; header: number },
  path: string,
): void {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let next = at + 4;
    for (const name of ['unpacked', 'packed', 'header'] as const) {
      if (sizes[name] !== 0xffff_ffff) continue;
      if (next + 8 > extra.length) throw corrupt(path, 'its directory is damaged');
      sizes[name] = safe(extra.readBigUInt64LE(next), path);
      next += 8;
    }
  }
}

/** Unpacks a file of an archive to a temporary one. */
async function unpack(
  { name, start, bytes, unpackedBytes }: ZipEntry,
  path: string,
  unpacked: { folder: string | undefined; files: FileHandle[] },
): Promise<Place> {
  unpacked.folder ??= await mkdtemp(join(tmpdir(), 'kd-spec-npz-'));
  const target = join(unpacked.folder, String(unpacked.files.length));
  let total = 0;
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      total += chunk.length;
      done(
        total > unpackedBytes ? corrupt(path, `${name} becomes longer than ${unpackedBytes} bytes`) : null,
        chunk,
      );
    },
  });
  try {
    const packed = createReadStream(path, { start, end: Math.max(start, start + bytes - 1) });
    await pipeline(packed, createInflateRaw(), limit, createWriteStream(target));
  } catch (error) {
    const isZlib = error instanceof Error && 'code' in error && /^Z_/.test(String(error.code));
    if (isZlib) throw corrupt(path, `${name} cannot be unpacked (${error.message})`, error);
    throw error;
  }
  const file = await open(target, 'r');
  unpacked.files.push(file);
  return { file, start: 0, bytes: total };
}

function safe(value: bigint, path: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw corrupt(path, `a size of ${value} bytes`);
}

async function readAt(file: FileHandle, start: number, length: number, place: string): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, start + done);
    if (bytesRead === 0) throw new KdSpecError('shard-truncated', `${place} ends early: copy it again`);
    done += bytesRead;
  }
  return bytes;
}

function corrupt(path: string, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError(
    'shard-corrupt',
    `${path} is not a sound NumPy file: ${what}; copy it again, or save it again`,
    { cause },
  );
}
