import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { foreignKind } from '../../core/file-kind.js';

/** A file within an archive. */
export interface TarEntry {
  readonly name: string;
  readonly sizeBytes: number;
  /** Where its content begins in the unpacked archive. */
  readonly offsetBytes: number;
  /** Reads its content, until the next entry is drawn. */
  content(): Promise<Uint8Array>;
}

const blockBytes = 512;
const nameLimitBytes = 64 * 1024; // of a long name, or of the attributes that hold one
const contentLimitBytes = 2 ** 28; // of a file that is read at once
const skipBytes = 2 ** 20; // of a stream that are passed over at once
const gzipMagic = [0x1f, 0x8b];

/** Reads an unpacked archive from its beginning to its end. */
interface ByteSource {
  /** The next bytes; fewer at the end. A view that may be overwritten by the next read. */
  read(length: number): Promise<Uint8Array>;
  skip(length: number): Promise<void>;
  close(): Promise<void>;
}

/** Whether a file is compressed by gzip, so that its entries can be read in their order only. */
export async function isGzip(path: string): Promise<boolean> {
  const file = await openArchive(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(64), 0, 64, 0);
    const head = buffer.subarray(0, bytesRead);
    if (gzipMagic.every((byte, at) => head[at] === byte)) return true;
    const kind = foreignKind(head);
    if (kind === undefined) return false;
    throw new KdSpecError('dataset-invalid', `expected a tar archive at ${path}, but ${kind}`);
  } finally {
    await file.close();
  }
}

/**
 * Streams the files of a tar archive, plain or compressed by gzip, in their order: the formats of POSIX (ustar, pax) and
 * GNU. Nothing is unpacked to disk.
 *
 * @throws KdSpecError `not-found`; `shard-truncated` with the entry within which it ends; `shard-corrupt` for what is no
 *   archive; `dataset-invalid` for links, sparse files, and names that are absolute or lead up
 * Cost: a block of 512 bytes in memory, and what `content` reads, of at most 256 MiB.
 */
export async function* tarEntries(path: string): AsyncGenerator<TarEntry> {
  const source = (await isGzip(path)) ? gzipSource(path) : await fileSource(path);
  try {
    let at = 0;
    let last = 'its beginning';
    let named: string | undefined;
    let sized: number | undefined;
    const truncated = () =>
      new KdSpecError(
        'shard-truncated',
        `${path} ends within ${last}: copy the file again, or make it again`,
      );
    const take = async (length: number) => {
      const bytes = await source.read(length);
      if (bytes.length < length) throw truncated();
      at += length;
      return bytes;
    };
    for (;;) {
      const header = await source.read(blockBytes);
      if (header.length === 0 || header.every((byte) => byte === 0)) return; // some writers leave the end out
      if (header.length < blockBytes) throw truncated();
      at += blockBytes;
      const entry = readHeader(header, path, at - blockBytes);
      const padding = (blockBytes - (entry.sizeBytes % blockBytes)) % blockBytes;
      last = JSON.stringify(entry.name);
      if (entry.kind === 'L' || entry.kind === 'x') {
        if (entry.sizeBytes > nameLimitBytes) throw corrupt(path, `a name of ${entry.sizeBytes} bytes`);
        const text = Buffer.from(await take(entry.sizeBytes)).toString('utf8');
        if (entry.kind === 'L') named = text.replace(/\0.*$/s, '');
        else {
          const attributes = paxAttributes(text);
          named = attributes.get('path') ?? named;
          const size = attributes.get('size');
          sized = size === undefined ? sized : wholeNumber(size, path);
        }
        await take(padding);
        continue;
      }
      const name = named ?? entry.name;
      const sizeBytes = sized ?? entry.sizeBytes;
      named = undefined;
      sized = undefined;
      last = JSON.stringify(name);
      if (['1', '2', 'S'].includes(entry.kind)) {
        throw new KdSpecError(
          'dataset-invalid',
          `${path}: ${last} is a ${entry.kind === 'S' ? 'sparse file' : 'link'}: expected plain files; make the archive ` +
            'again with what the links lead to (tar --dereference)',
        );
      }
      if (entry.kind !== '0') {
        await source.skip(sizeBytes + padding);
        at += sizeBytes + padding;
        continue;
      }
      expectPlainName(name, path);
      const start = at;
      let taken = 0;
      yield {
        name: name.replace(/^(\.\/)+/, ''),
        sizeBytes,
        offsetBytes: start,
        async content() {
          if (sizeBytes > contentLimitBytes) {
            throw new KdSpecError(
              'image-too-large',
              `${path}: expected files of at most ${contentLimitBytes} bytes, found ${last} of ${sizeBytes}`,
            );
          }
          taken = sizeBytes;
          const bytes = await take(sizeBytes).catch((error: unknown) => {
            throw asArchiveError(error, path); // thrown into the caller, outside of the loop that guards the rest
          });
          return Uint8Array.from(bytes);
        },
      };
      const left = sizeBytes - taken + ((blockBytes - (sizeBytes % blockBytes)) % blockBytes);
      await source.skip(left);
      at += left;
    }
  } catch (error) {
    throw asArchiveError(error, path);
  } finally {
    await source.close();
  }
}

/** Reads the content of an entry of an archive that is not compressed. */
export async function readEntry(path: string, offsetBytes: number, sizeBytes: number): Promise<Uint8Array> {
  const file = await openArchive(path);
  try {
    const bytes = new Uint8Array(sizeBytes);
    let done = 0;
    while (done < sizeBytes) {
      const { bytesRead } = await file.read(bytes, done, sizeBytes - done, offsetBytes + done);
      if (bytesRead === 0)
        throw new KdSpecError('shard-truncated', `${path} became shorter while it was read`);
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

function readHeader(
  header: Uint8Array,
  path: string,
  at: number,
): { readonly name: string; readonly kind: string; readonly sizeBytes: number } {
  const text = (start: number, length: number) =>
    Buffer.from(header.subarray(start, start + length))
      .toString('utf8')
      .replace(/\0.*$/s, '');
  const sum = header.reduce((total, byte, place) => total + (place >= 148 && place < 156 ? 32 : byte), 0);
  if (Number.parseInt(text(148, 8).trim(), 8) !== sum) {
    throw corrupt(path, `there is no entry at byte ${at}, where one should begin`);
  }
  const prefix = text(257, 5) === 'ustar' && header[262] === 0 ? text(345, 155) : '';
  const kind = text(156, 1);
  return {
    name: prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`,
    kind: kind === '' || kind === '7' ? '0' : kind,
    sizeBytes: sizeOf(header.subarray(124, 136), path),
  };
}

/** A size: digits in base 8, or, of large files, a number of 11 bytes (GNU). */
function sizeOf(field: Uint8Array, path: string): number {
  if ((field[0] & 0x80) === 0) {
    const digits = Buffer.from(field).toString('latin1').replace(/\0.*$/s, '').trim();
    if (digits === '') return 0;
    if (!/^[0-7]+$/.test(digits)) throw corrupt(path, `a size of ${JSON.stringify(digits)}`);
    return Number.parseInt(digits, 8);
  }
  const size = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, field[0] & 0x7f);
  if (Number.isSafeInteger(size)) return size;
  throw corrupt(path, `a size of ${size} bytes`);
}

/** The records of a pax header: `length name=value\n`. */
function paxAttributes(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^\d+ ([^=]+)=(.*)$/s.exec(line) ?? [];
    if (name !== undefined && value !== undefined) attributes.set(name, value);
  }
  return attributes;
}

function wholeNumber(text: string, path: string): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw corrupt(path, `a size of ${JSON.stringify(text)}`);
}

function expectPlainName(name: string, path: string): void {
  const parts = name.replaceAll('\\', '/').split('/');
  if (parts[0] !== '' && !/^[a-z]:$/i.test(parts[0]) && !parts.includes('..') && !name.includes('\0')) return;
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected names of files below the archive, found ${JSON.stringify(name.slice(0, 200))}: names do not lead out ` +
      'of it; make the archive again from within its folder',
  );
}

async function fileSource(path: string): Promise<ByteSource> {
  const file = await openArchive(path);
  const { size } = await file.stat();
  let at = 0;
  return {
    async read(length) {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, size - at)));
      let done = 0;
      while (done < bytes.length) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, at + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      at += done;
      return bytes.subarray(0, done);
    },
    async skip(length) {
      if (at + length > size) {
        throw new KdSpecError(
          'shard-truncated',
          `${path} ends at byte ${size}, within a file: copy it again`,
        );
      }
      at += length;
    },
    close: () => file.close(),
  };
}

function gzipSource(path: string): ByteSource {
  const file = createReadStream(path);
  const stream = createGunzip();
  file.on('error', (error) => stream.destroy(error));
  const chunks: AsyncIterator<Buffer> = file.pipe(stream)[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  const read = async (length: number): Promise<Uint8Array> => {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (rest.length === 0) {
        const next = await chunks.next();
        if (next.done === true) break;
        rest = next.value;
      }
      const part = rest.subarray(0, missing);
      parts.push(part);
      rest = rest.subarray(part.length);
      missing -= part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  };
  return {
    read,
    async skip(length) {
      let left = length;
      while (left > 0) {
        const bytes = await read(Math.min(left, skipBytes));
        if (bytes.length === 0)
          throw new KdSpecError('shard-truncated', `${path} ends within a file: copy it again`);
        left -= bytes.length;
      }
    },
    async close() {
      stream.destroy();
      file.destroy();
    },
  };
}

async function openArchive(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw asFileError(error, path, 'a tar archive');
  }
}

function asArchiveError(error: unknown, path: string): unknown {
  const isZlib = error instanceof Error && 'code' in error && /^Z_/.test(String(error.code));
  if (!isZlib) return asFileError(error, path, 'a tar archive');
  const isShort = String(error.code) === 'Z_BUF_ERROR';
  if (isShort)
    return new KdSpecError('shard-truncated', `${path} ends within its compressed data: copy it again`, {
      cause: error,
    });
  return corrupt(path, `it cannot be unpacked (${error.message})`, error);
}

function corrupt(path: string, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError(
    'shard-corrupt',
    `${path} is not a sound tar archive: ${what}; copy it again, or make it again`,
    {
      cause,
    },
  );
}
