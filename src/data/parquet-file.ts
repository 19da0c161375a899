import { type FileHandle, open } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type Compressors,
  type FileMetaData,
  parquetMetadata,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
  snappyUncompress,
} from 'hyparquet';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import { checkPages, type PageColumn } from './parquet-pages.js';
import type { BatchSize } from './row-order.js';
import { loadZstd, type Unpack, unpackLz4Block } from './unpacking.js';

/** A Parquet file, of which row groups are read one at a time. */
export interface ParquetFile {
  readonly path: string;
  readonly rows: number;
  /** Rows and unpacked bytes of each row group. */
  readonly groups: readonly BatchSize[];
  /**
   * What each column holds, in the words of Hugging Face's features: as the metadata of the file say where `datasets`
   * wrote it, else by its type.
   */
  readonly features: Readonly<Record<string, unknown>>;
  /** What programs wrote about it, by key. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * Reads some columns of a row group.
   *
   * @returns a row an object; a text as string, bytes as Uint8Array, an integer as number or bigint, a list as array
   * @throws KdSpecError `shard-corrupt` for what cannot be decoded, `dataset-invalid` for row groups beyond the limits
   * Cost: the columns' chunks in memory, and their values.
   */
  readGroup(group: number, columns: readonly string[]): Promise<readonly Readonly<Record<string, unknown>>[]>;
  close(): Promise<void>;
}

const magic = 'PAR1';
const footerEndBytes = 4 + magic.length;
const footerLimitBytes = 64 * 2 ** 20;
/** Of a column in a row group: what is held at once. */
const chunkLimitBytes = 512 * 2 ** 20;
const valueLimit = 2 ** 25;
const pageLimitBytes = 256 * 2 ** 20;

/**
 * Opens a Parquet file: what it holds is read from its end, no rows.
 *
 * @throws KdSpecError `not-found`, `shard-truncated`, `shard-corrupt`, `dataset-invalid` for a file of another kind
 */
export async function openParquet(path: string): Promise<ParquetFile> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw asFileError(error, path, 'a Parquet file');
  });
  try {
    const { size } = await file.stat();
    const metadata = await readFooter(file, size, path);
    const tree = guarded(path, 'its schema cannot be decoded', () => parquetSchema(metadata));
    const groups = metadata.row_groups.map((group, at) => ({
      rows: countOf(group.num_rows, `the rows of row group ${at}`, path),
      sizeBytes: group.columns.reduce(
        (sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0),
        0,
      ),
    }));
    const buffer: AsyncBuffer = {
      byteLength: size,
      slice(start, end = size) {
        const bytes = slice(file, path, start, end);
        bytes.catch(() => {}); // hyparquet asks for bytes that, once others have failed, it does not wait for
        return bytes;
      },
    };
    return {
      path,
      rows: groups.reduce((sum, { rows }) => sum + rows, 0),
      groups,
      features: { ...featuresByType(tree), ...writtenFeatures(metadata, tree) },
      metadata: new Map(metadata.key_value_metadata?.map(({ key, value }) => [key, value ?? ''])),
      readGroup: (group, columns) =>
        readGroup({ path, size, buffer, metadata, tree, groups }, group, columns),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw asFileError(error, path, 'a Parquet file');
  }
}

async function readFooter(file: FileHandle, size: number, path: string): Promise<FileMetaData> {
  const head = Buffer.from(await slice(file, path, 0, Math.min(size, 64)));
  if (head.toString('latin1', 0, 4) !== magic) {
    const kind =
      head.toString('latin1', 0, 4) === 'PARE' ? 'it is encrypted: decrypt it first' : foreignKind(head);
    throw new KdSpecError(
      'dataset-invalid',
      `expected a Parquet file at ${path}, but ${kind ?? 'it is of another kind'}`,
    );
  }
  const end = Buffer.from(await slice(file, path, Math.max(0, size - footerEndBytes), size));
  if (end.toString('latin1', 4) !== magic) {
    throw new KdSpecError(
      'shard-truncated',
      `${path} ends at byte ${size} without the mark of a Parquet file: copy it again, or make it again`,
    );
  }
  const length = end.readUInt32LE(0);
  if (length > Math.min(footerLimitBytes, size - 4 - footerEndBytes)) {
    throw corrupt(path, `it announces metadata of ${length} bytes`);
  }
  const footer = await slice(file, path, size - footerEndBytes - length, size);
  const metadata = guarded(path, 'its metadata cannot be decoded', () =>
    parquetMetadata(footer, { geoparquet: false }),
  );
  for (const { columns, num_rows: rows } of metadata.row_groups) {
    if (rows === 0n) continue; // pyarrow writes such a group of a table without rows
    for (const { meta_data: column } of columns) {
      if (!Array.isArray(column?.path_in_schema)) throw corrupt(path, 'the metadata of a column are missing');
      const { start, bytes } = placeOf(column);
      const fits = start >= magic.length && bytes >= 0 && start + bytes <= size - footerEndBytes - length;
      if (!fits) throw corrupt(path, `the column ${column.path_in_schema.join('.')} lies outside it`);
      countOf(column.num_values, `the values of ${column.path_in_schema.join('.')}`, path);
    }
  }
  return metadata;
}

/** Where a column chunk lies: from its dictionary, or its first page. */
function placeOf(column: ColumnMetaData): { readonly start: number; readonly bytes: number } {
  const { data_page_offset, dictionary_page_offset, total_compressed_size } = column;
  const isFirst =
    dictionary_page_offset !== undefined &&
    dictionary_page_offset > 0n &&
    dictionary_page_offset < data_page_offset;
  return {
    start: Number(isFirst ? dictionary_page_offset : data_page_offset),
    bytes: Number(total_compressed_size),
  };
}

async function readGroup(
  {
    path,
    size,
    buffer,
    metadata,
    tree,
    groups,
  }: {
    readonly path: string;
    readonly size: number;
    readonly buffer: AsyncBuffer;
    readonly metadata: FileMetaData;
    readonly tree: SchemaTree;
    readonly groups: readonly BatchSize[];
  },
  group: number,
  columns: readonly string[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { rows } = groups[group];
  if (rows === 0) return [];
  const compressors = await loadCompressors(metadata.row_groups[group].columns);
  for (const { meta_data: column } of metadata.row_groups[group].columns) {
    if (column === undefined || !columns.includes(column.path_in_schema[0])) continue;
    const { codec } = column;
    if (codec !== 'UNCOMPRESSED' && compressors[codec] === undefined) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}: the column ${column.path_in_schema[0]} is compressed by ${codec}, which is not read: write the file again ` +
          'with compression="zstd" (or snappy, gzip, brotli, lz4)',
      );
    }
    const { start, bytes } = placeOf(column);
    const values = Number(column.num_values);
    if (bytes > chunkLimitBytes || values > valueLimit) {
      throw new KdSpecError(
        'dataset-invalid',
        `${path}: row group ${group} has ${values.toLocaleString('en')} values in ${bytes.toLocaleString('en')} bytes of the ` +
          `column ${column.path_in_schema[0]}, too much to hold at once: write the file again with smaller row groups ` +
          '(pyarrow.parquet.write_table(table, path, row_group_size=1000))',
      );
    }
    const chunk = new Uint8Array(await buffer.slice(start, Math.min(size, start + bytes)));
    guarded(path, `a page of ${column.path_in_schema.join('.')} in row group ${group}`, () =>
      checkPages(chunk, pageColumn(column, tree, compressors), { values, pageBytes: pageLimitBytes }),
    );
  }
  const first = groups.slice(0, group).reduce((sum, one) => sum + one.rows, 0);
  try {
    const found = await parquetReadObjects({
      file: buffer,
      metadata,
      columns: [...columns],
      rowStart: first,
      rowEnd: first + rows,
      compressors,
      utf8: false,
      geoparquet: false,
    });
    if (found.length === rows) return found;
    throw corrupt(path, `row group ${group} has ${found.length} of ${rows} rows`);
  } catch (error) {
    if (error instanceof KdSpecError) throw error;
    throw corrupt(
      path,
      `row group ${group} cannot be decoded (${error instanceof Error ? error.message : error})`,
      error,
    );
  }
}

function pageColumn(
  { path_in_schema: names, type, codec }: ColumnMetaData,
  tree: SchemaTree,
  compressors: Compressors,
): PageColumn {
  let node = tree;
  let [definitionLevels, repetitionLevels] = [0, 0];
  for (const name of names) {
    const child = node.children.find(({ element }) => element.name === name);
    if (child === undefined) throw new Error(`the schema has no ${names.join('.')}`);
    node = child;
    if (node.element.repetition_type !== 'REQUIRED') definitionLevels++;
    if (node.element.repetition_type === 'REPEATED') repetitionLevels++;
  }
  const unpack = (page: Uint8Array, bytes: number) => {
    if (codec === 'UNCOMPRESSED') return page;
    const unpackPage = compressors[codec];
    if (unpackPage === undefined) throw new Error(`it is compressed by ${codec}, which is not read`);
    return unpackPage(page, bytes);
  };
  return { definitionLevels, repetitionLevels, isBoolean: type === 'BOOLEAN', unpack };
}

/** The decompressors: each makes as much as was announced, which was checked, and no more. */
const syncCompressors: Compressors = {
  SNAPPY(input, length) {
    checkSnappy(input);
    const output = new Uint8Array(length);
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  LZ4_RAW: (input, length) => unpacked(unpackLz4Block, input, length),
};

async function loadCompressors(columns: FileMetaData['row_groups'][number]['columns']): Promise<Compressors> {
  if (!columns.some(({ meta_data: column }) => column?.codec === 'ZSTD')) return syncCompressors;
  const unpackZstd = await loadZstd();
  return { ...syncCompressors, ZSTD: (input, length) => unpacked(unpackZstd, input, length) };
}

function unpacked(unpack: Unpack, input: Uint8Array, length: number): Uint8Array {
  const output = new Uint8Array(length);
  unpack(input, output);
  return output;
}

/** hyparquet follows a literal of 2 GiB or more as one of a negative length, backwards and without end. */
function checkSnappy(input: Uint8Array): void {
  let at = 0;
  while (at < input.length && input[at] >= 128) at++;
  at++;
  while (at < input.length) {
    const tag = input[at++];
    if ((tag & 3) !== 0) {
      at += [0, 1, 2, 4][tag & 3];
      continue;
    }
    const sizeBytes = Math.max(0, (tag >>> 2) - 59);
    let size = sizeBytes === 0 ? tag >>> 2 : 0;
    for (let k = 0; k < sizeBytes; k++) size += (input[at + k] ?? 0) * 256 ** k;
    at += sizeBytes + size + 1;
    if (at > input.length) throw new Error('a literal reaches beyond its page');
  }
}

/** What `datasets` wrote down of the columns that there are. */
function writtenFeatures(metadata: FileMetaData, tree: SchemaTree): Record<string, unknown> {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  try {
    const features: unknown = JSON.parse(text ?? '{}')?.info?.features;
    if (typeof features !== 'object' || features === null) return {};
    const columns = new Set(tree.children.map(({ element }) => element.name));
    return Object.fromEntries(Object.entries(features).filter(([name]) => columns.has(name)));
  } catch {
    return {}; // what no program can read says nothing
  }
}

/** What columns hold by their types. */
function featuresByType(tree: SchemaTree): Record<string, unknown> {
  return Object.fromEntries(tree.children.map((column) => [column.element.name, featureOf(column)]));
}

function featureOf(column: SchemaTree): unknown {
  const { element, children } = column;
  const value = (dtype: string) => ({ _type: 'Value', dtype });
  if (children.some((child) => child.element.name === 'bytes' && child.element.type === 'BYTE_ARRAY')) {
    return { _type: 'Image' };
  }
  if (element.converted_type === 'LIST' || element.logical_type?.type === 'LIST') {
    const item = children[0]?.children[0] ?? children[0];
    return item === undefined ? undefined : { _type: 'List', feature: featureOf(item) };
  }
  if (children.length > 0) return { _type: 'Struct' };
  const meaning = element.logical_type?.type ?? element.converted_type;
  const isText = meaning === 'STRING' || meaning === 'UTF8' || meaning === 'ENUM';
  const isWhole = meaning === undefined || meaning === 'INTEGER' || /^U?INT_\d+$/.test(meaning);
  switch (element.type) {
    case 'BYTE_ARRAY':
      return value(isText ? 'string' : meaning === undefined ? 'binary' : meaning);
    case 'INT32':
    case 'INT64':
      return value(isWhole ? 'int64' : String(meaning));
    case 'FLOAT':
      return value('float32');
    case 'DOUBLE':
      return value('float64');
    case 'FIXED_LEN_BYTE_ARRAY':
      return value(meaning === 'FLOAT16' ? 'float16' : String(meaning ?? 'fixed bytes'));
    default:
      return value(String(element.type));
  }
}

function countOf(count: bigint, what: string, path: string): number {
  if (count >= 0n && count <= 2n ** 40n) return Number(count);
  throw corrupt(path, `${what} are ${count}`);
}

async function slice(file: FileHandle, path: string, start: number, end: number): Promise<ArrayBuffer> {
  const length = end - start;
  if (!(start >= 0 && length >= 0 && length <= 2 * chunkLimitBytes))
    throw corrupt(path, `bytes ${start} to ${end} are wanted`);
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, start + done);
    if (bytesRead === 0) throw new KdSpecError('shard-truncated', `${path} became shorter while it was read`);
    done += bytesRead;
  }
  return bytes.buffer;
}

/** Decodes; what the library throws then is damage of the file. */
function guarded<T>(path: string, what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw corrupt(path, `${what} (${error instanceof Error ? error.message : error})`, error);
  }
}

function corrupt(path: string, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError(
    'shard-corrupt',
    `${path} is not a sound Parquet file: ${what}; copy it again, or make it again`,
    { cause },
  );
}
