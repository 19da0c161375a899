import type { Stats } from 'node:fs';

/**
 * What a file is when it is not what it should be, with what helps.
 *
 * A file of the right name and another content is common: Git LFS leaves pointers, downloads give web pages, and
 * formats are renamed. A reader that fails says so instead of "damaged".
 *
 * @param head the first bytes, 64 or more where the file has them
 * @returns a clause such as `it is a Parquet file: ...`; undefined when nothing is recognised
 *
 * @example
 * foreignKind(Buffer.from('version https://git-lfs.github.com/spec/v1')); // 'it is a Git LFS pointer, ...'
 */
export function foreignKind(head: Uint8Array): string | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 256)).toString('latin1');
  if (text === '') return 'it is empty: copy it again';
  if (/^(\xef\xbb\xbf)?\s*<(!doctype html|html)/i.test(text))
    return 'it is a web page: what was downloaded is not the file';
  return kinds.find(([beginning]) => text.startsWith(beginning))?.[1];
}

const arrow = 'pyarrow.feather.write_feather(table, path)';
const pickle = 'it is a Python pickle: convert it in Python';
const image = 'it is an image';

/** The first bytes of each kind. */
const kinds: readonly (readonly [string, string])[] = [
  [
    'version https://git-lfs.github.com/',
    'it is a Git LFS pointer, which stands for the file: run `git lfs pull` in the repository that it comes from',
  ],
  ['PAR1', `it is a Parquet file: read it with pyarrow.parquet.read_table(path) and write it with ${arrow}`],
  ['\x93NUMPY', `it is a NumPy array (.npy): put it into a pyarrow table and write that with ${arrow}`],
  ['FEA1', `it is a Feather file of version 1: write it again with ${arrow}`],
  ['ARROW1', 'it is an Arrow file'],
  ['\x1f\x8b', 'it is compressed by gzip: unpack it with gunzip'],
  ['\x28\xb5\x2f\xfd', 'it is compressed by zstd: unpack it with unzstd'],
  ['BZh', 'it is compressed by bzip2: unpack it with bunzip2'],
  ['\xfd7zXZ', 'it is compressed by xz: unpack it with unxz'],
  ['PK\x03\x04', 'it is a ZIP archive (as PyTorch checkpoints and .npz files are): unpack or convert it'],
  ['\x89HDF', 'it is an HDF5 file: convert it'],
  ...['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'].map((start) => [start, pickle] as const),
  ...['\x89PNG', '\xff\xd8\xff', 'GIF8'].map((start) => [start, image] as const),
  ...['\xff\xfe', '\xfe\xff'].map((start) => [start, 'it is text in UTF-16: save it as UTF-8'] as const),
];

/**
 * What a path leads to that is no regular file, for a person: `a folder`, `a pipe`.
 *
 * @returns undefined for a regular file
 */
export function entryKind(info: Stats): string | undefined {
  if (info.isFile()) return undefined;
  if (info.isDirectory()) return 'a folder';
  if (info.isFIFO()) return 'a pipe';
  if (info.isSocket()) return 'a socket';
  return 'a device';
}
