import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hubParquet, plainEncoders } from '../../../test/support/hub-parquet.js';
import { checkPages } from '../parquet-pages.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { featuresSource } from './features.js';
import { recognise } from './importers.js';
import { parquetSource } from './parquet.js';

// What Python's `datasets` and pyarrow write is checked in test/python.

let root: string;
let greys: Buffer[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-parquet-'));
  greys = await Promise.all(
    Array.from({ length: 60 }, (_, k) =>
      sharp({ create: { width: 4, height: 4, channels: 3, background: { r: k, g: k, b: k } } })
        .png()
        .toBuffer(),
    ),
  );
});
afterAll(() => rm(root, { recursive: true }));

let made = 0;
async function folder(files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  const directory = join(root, String(made++));
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), bytes);
  }
  return directory;
}

const names = ['ash', 'b\u0153uf', 'oak'];
/** Rows `from` to `to`, whose grey tells the row, the row its class, and six rows a vendor. */
const rows = (from: number, to: number, label = (k: number): number | null => k % 3) => {
  const numbers = Array.from({ length: to - from }, (_, k) => from + k);
  return hubParquet(
    numbers.map((k) => greys[k]),
    { labels: numbers.map(label), names, vendors: numbers.map((k) => `v${Math.floor(k / 6)}`) },
  );
};
const open = (source: string, more = {}) => parquetSource(source, { imageSize: 8, seed: 1, ...more });

/** The greys of a split in their order; each with its class. */
async function shown(
  source: DatasetSource,
  split: SplitName,
  label = (k: number) => names[k % 3],
): Promise<readonly number[]> {
  const greysOfSplit = [];
  for await (const { pixels, label: found } of source.images(split)) {
    expect(source.classes[found]).toBe(label(pixels[0]));
    greysOfSplit.push(pixels[0]);
  }
  expect(greysOfSplit).toHaveLength(source.count(split));
  return greysOfSplit;
}
const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, k) => from + k);
const ascending = (values: readonly number[]) => values.toSorted((a, b) => a - b);

test('a folder as on the Hub: shards by part, features from the metadata, rows shuffled by seed', async () => {
  const directory = await folder({
    'README.md': Buffer.from('# Trees'),
    'data/train-00000-of-00002.parquet': rows(0, 23),
    'data/train-00001-of-00002.parquet': rows(23, 40),
    'data/validation-00000-of-00001.parquet': rows(40, 50),
    'data/test-00000-of-00001.parquet': rows(50, 60),
  });
  expect((await recognise(directory)).name).toBe('parquet');
  const source = await open(directory);
  expect(source.classes).toEqual(names);
  const train = await shown(source, 'train');
  expect(ascending(train)).toEqual(upTo(40));
  expect(train).not.toEqual(upTo(40));
  expect(await shown(await open(directory), 'train')).toEqual(train);
  expect(ascending(await shown(source, 'validation'))).toEqual(upTo(10, 40));
  expect(ascending(await shown(source, 'test'))).toEqual(upTo(10, 50));
  await rm(join(directory, 'data', 'train-00001-of-00002.parquet'));
  await expect(open(directory)).rejects.toThrow(/expected 2 files named -of-00002/);
});

test('one file, divided by seed and by groups; other columns as labels', async () => {
  const directory = await folder({ 'trees.parquet': rows(0, 60, (k) => (k === 7 ? null : k % 3)) });
  const path = join(directory, 'trees.parquet');
  const source = await open(path, { group: 'vendor', validationFraction: 0.2, testFraction: 0.2 });
  const groups = [];
  for (const split of splitNames)
    groups.push(new Set((await shown(source, split)).map((k) => Math.floor(k / 6))));
  expect(groups.map(({ size }) => size)).toEqual([6, 2, 2]);
  expect(new Set(groups.flatMap((one) => [...one])).size).toBe(10);
  expect(source.report?.().leftOut).toEqual([
    { what: 'rows without a label', count: 1, example: `${path}, the train part` },
  ]);
  const vendors = await open(path, { labelColumn: 'vendor', validationFraction: 0, testFraction: 0 });
  expect(vendors.classes).toHaveLength(10);
  await shown(vendors, 'train', (k) => `v${Math.floor(k / 6)}`);
  await expect(open(path, { labelColumn: 'maker' })).rejects.toThrow(/kind, vendor; found "maker"/);
});

const bytes = (images: readonly (Uint8Array | null)[], column = 'payload') =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: column, data: [...images], type: 'BYTE_ARRAY', nullable: true },
        { name: 'label', data: images.map((_, k) => [10, 9][k % 2]), type: 'INT32' },
      ],
      rowGroupSize: 7,
    }),
  );

test('columns of plain types: binary images, integers as labels, null images', async () => {
  const directory = await folder({
    'a.parquet': bytes(greys),
    'b.parquet': bytes([...greys.slice(0, 9), null]),
  });
  const path = join(directory, 'a.parquet');
  await expect(open(path)).rejects.toThrow(/bytes that may be some in payload .*--image-column payload/);
  const source = await open(path, { imageColumn: 'payload', validationFraction: 0, testFraction: 0 });
  expect(source.classes).toEqual(['9', '10']);
  expect(ascending(await shown(source, 'train', (k) => String([10, 9][k % 2])))).toEqual(upTo(60));
  const holes = await open(join(directory, 'b.parquet'), {
    imageColumn: 'payload',
    validationFraction: 0,
    testFraction: 0,
  });
  for await (const _ of holes.images('train'));
  expect(() => holes.report?.()).toThrow(/row 9: expected the bytes of an image, found none: add it/);
});

test.each(['image', 'jpg', 'img_bytes'])(
  'the only column of bytes is one of images where it is called %s',
  async (name) => {
    const path = join(await folder({ 'a.parquet': bytes(greys, name) }), 'a.parquet');
    const source = await open(path, { validationFraction: 0, testFraction: 0 });
    expect(ascending(await shown(source, 'train', (k) => String([10, 9][k % 2])))).toEqual(upTo(60));
    expect(source.report?.().notes).toContainEqual({
      what: 'a column of bytes, which are taken for encoded images',
      count: 1,
      example: name,
    });
  },
);

test('images of which only the paths are stored are refused with what embeds them, in the order of the rows', async () => {
  const bytes = hubParquet(
    Array.from({ length: 12 }, () => null),
    {
      labels: Array.from({ length: 12 }, (_, k) => k % 3),
      names,
      vendors: Array.from({ length: 12 }, () => 'v'),
    },
  );
  const directory = await folder({ 'a.parquet': bytes });
  const source = await open(directory, { validationFraction: 0, testFraction: 0 });
  for await (const _ of source.images('train'));
  expect(() => source.report?.()).toThrow(
    /12 images .*row 2: expected the bytes of an image, found the path "2\.png" alone: embed .*row 9: .*row 10: /s,
  );
});

/** A Parquet file of lists of integers and of texts, whose pages an encoder packs. */
function embeddings(codec: 'LZ4' | 'LZ4_RAW', pack: (page: Uint8Array) => Uint8Array): Buffer {
  const schema: Parameters<typeof parquetWriteBuffer>[0]['schema'] = [
    { name: 'schema', num_children: 2 },
    { name: 'embedding', converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', type: 'INT32', repetition_type: 'OPTIONAL' },
    { name: 'label', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  ];
  const columnData = [
    { name: 'embedding', data: upTo(6).map((k) => [k, -k]) },
    { name: 'label', data: upTo(6).map((k) => names[k % 3]) },
  ];
  return Buffer.from(parquetWriteBuffer({ schema, columnData, codec, compressors: { [codec]: pack } }));
}

test('a codec that is not read is named, with those that are; embeddings of integers are features', async () => {
  const directory = await folder({ 'a.parquet': embeddings('LZ4', (page) => page) });
  const path = join(directory, 'a.parquet');
  expect((await recognise(path)).name).toBe('features');
  await expect(featuresSource(path, { imageSize: 8, seed: 1 })).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(/compressed by LZ4,.*compression="zstd"/),
  });
});

test('columns that are blocks of LZ4 are read; damaged ones, and those of another length, are refused', async () => {
  const literals = plainEncoders.LZ4_RAW;
  const directory = await folder({
    'sound.parquet': embeddings('LZ4_RAW', literals),
    'short.parquet': embeddings('LZ4_RAW', (page) => literals(page.subarray(1))),
    'damaged.parquet': embeddings('LZ4_RAW', (page) => literals(page).subarray(0, -1)),
  });
  const read = (name: string) =>
    featuresSource(join(directory, name), {
      imageSize: 8,
      seed: 1,
      validationFraction: 0,
      testFraction: 0,
    });
  const found: (readonly [number, string])[] = [];
  const source = await read('sound.parquet');
  for await (const { pixels, label } of source.images('train'))
    found.push([new Float32Array(pixels.slice().buffer)[0], source.classes[label]]);
  expect(found.toSorted(([a], [b]) => a - b)).toEqual(upTo(6).map((k) => [k, names[k % 3]]));
  for (const name of ['short.parquet', 'damaged.parquet'])
    await expect(read(name), name).rejects.toMatchObject({ code: 'shard-corrupt' });
});

test.each([
  ['a label beyond its names', () => rows(0, 9, () => 3), /label "3".*none of the 3 names of its ClassLabel/],
  ['the end is missing', () => rows(0, 9).subarray(0, -5), /without the mark of a Parquet file/],
  ['a Git LFS pointer', () => Buffer.from('version https://git-lfs.github.com/spec/v1'), /Git LFS/],
  [
    'metadata of another size',
    () => overwritten(rows(0, 9), -8, 0x7fff_ffff),
    /metadata of 2147483647 bytes/,
  ],
  ['nothing', () => Buffer.from('PAR1'), /Parquet file/],
])('%s: refused', async (_, bytes, message) => {
  const directory = await folder({ 'train.parquet': bytes() });
  await expect(open(directory)).rejects.toMatchObject({
    name: 'KdSpecError',
    message: expect.stringMatching(message),
  });
});

function overwritten(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt32LE(value, changed.length + at);
  return changed;
}

/** A page: fields 1 to 3 (kind and sizes), and field 5, the header of a data page with its values and encoding. */
function page(
  unpacked: number,
  packed: number,
  values: number,
  { encoding = 0, body = new Uint8Array(8) }: { encoding?: number; body?: Uint8Array } = {},
): Uint8Array {
  const i32 = (value: number) => [0x15, ...varint(2 * value)];
  const header = [...i32(values), ...i32(encoding), 0];
  return Uint8Array.from([...i32(0), ...i32(unpacked), ...i32(packed), 0x2c, ...header, 0, ...body]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}

const flat = {
  definitionLevels: 0,
  repetitionLevels: 0,
  isBoolean: false,
  unpack: (bytes: Uint8Array) => bytes,
};
const limits = { values: 100, pageBytes: 1000 };

test('pages that announce more than there can be are refused before anything is made for them', () => {
  expect(() => checkPages(page(1000, 8, 100), flat, limits)).not.toThrow();
  expect(() => checkPages(page(1001, 8, 100), flat, limits)).toThrow(/a page of 1001 bytes/);
  expect(() => checkPages(page(1000, 9, 100), flat, limits)).toThrow(/beyond its column/);
  expect(() => checkPages(page(8, 8, 2 ** 31), flat, limits)).toThrow(/a page of 2147483648 values/);
  expect(() => checkPages(Uint8Array.from([...page(8, 8, 60), ...page(8, 8, 60)]), flat, limits)).toThrow(
    /60 values/,
  );
});

test('runs that hold more values than their page are refused', () => {
  const check = (column: typeof flat, encoding: number, body: readonly number[]) =>
    checkPages(
      page(body.length, body.length, 100, { encoding, body: Uint8Array.from(body) }),
      column,
      limits,
    );
  const repeated = (times: number) => [...varint(2 * times), 1];
  const packed = (eights: number) => [...varint(2 * eights + 1), ...new Uint8Array(eights)];
  const levels = (run: readonly number[]) => [run.length, 0, 0, 0, ...run];
  const optional = { ...flat, definitionLevels: 1 };
  for (const run of [repeated(100), packed(13), [...repeated(60), ...packed(5)]]) {
    expect(() => check(optional, 0, levels(run))).not.toThrow();
    expect(() => check(flat, 8, [1, ...run])).not.toThrow();
    expect(() => check({ ...flat, isBoolean: true }, 3, levels(run))).not.toThrow();
  }
  for (const run of [repeated(101), repeated(2 ** 31), packed(14), [...repeated(60), ...packed(6)]]) {
    expect(() => check(optional, 0, levels(run))).toThrow(/a run of \d+ of 100 values/);
    expect(() => check(flat, 8, [1, ...run])).toThrow(/a run of \d+ of 100 values/);
    expect(() => check({ ...flat, isBoolean: true }, 3, levels(run))).toThrow(/a run of \d+ of 100 values/);
  }
  expect(() => check(flat, 8, [1, ...packed(13).slice(0, -1)])).toThrow(/beyond its page/);
  // Of an optional column with 40 values, the dictionary's numbers are as many.
  expect(() =>
    check(optional, 8, [...levels([...repeated(40), ...varint(120), 0]), 1, ...repeated(40)]),
  ).not.toThrow();
  expect(() =>
    check(optional, 8, [...levels([...repeated(40), ...varint(120), 0]), 1, ...repeated(41)]),
  ).toThrow(/a run of 41 of 40 values/);
});
