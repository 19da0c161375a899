import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Dictionary,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  Schema,
  Table,
  tableFromIPC,
  tableToIPC,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPredictionWriter, type PredictionBatch, readPredictions } from './predictions.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-predictions-'));
});
afterAll(() => rm(root, { recursive: true }));

type Rows = readonly { readonly entries: readonly (readonly [number, number])[]; readonly label: number }[];

const classes = 50;
const batchRows: fc.Arbitrary<Rows> = fc.array(
  fc.record({
    entries: fc
      .uniqueArray(fc.integer({ min: 0, max: classes - 1 }), { maxLength: 8 })
      .chain((indices) =>
        fc.tuple(
          ...indices.map((index) =>
            fc.tuple(fc.constant(index), fc.float({ min: 0, max: 0.125, noNaN: true })),
          ),
        ),
      ),
    label: fc.integer({ min: 0, max: classes - 1 }),
  }),
  { minLength: 1, maxLength: 20 },
);

function toBatch(rows: Rows, labelled: boolean): PredictionBatch {
  const offsets = new Int32Array(rows.length + 1);
  for (const [row, { entries }] of rows.entries()) offsets[row + 1] = offsets[row] + entries.length;
  const entries = rows.flatMap((row) => row.entries);
  const indices = Int32Array.from(entries, ([index]) => index);
  const values = Float32Array.from(entries, ([, value]) => value);
  const labels = labelled ? Int32Array.from(rows, ({ label }) => label) : undefined;
  return { probabilities: { rows: rows.length, columns: classes, offsets, indices, values }, labels };
}

async function readAll(path: string, options?: { classes?: number }): Promise<PredictionBatch[]> {
  const batches = [];
  for await (const batch of (await readPredictions(path, options)).rows()) batches.push(batch);
  return batches;
}

let folders = 0;

test('what is written comes back, in shards of bounded size', async () => {
  const property = fc.asyncProperty(
    fc.array(batchRows, { maxLength: 6 }),
    fc.boolean(),
    async (batches, labelled) => {
      const directory = join(root, String(folders++));
      const writer = createPredictionWriter(directory, { classes, shardBytes: 3000 });
      for (const rows of batches) await writer.write(toBatch(rows, labelled));
      const shards = await writer.close();
      expect(shards.reduce((sum, { rows }) => sum + rows, 0)).toBe(batches.flat().length);
      const predictions = await readPredictions(directory);
      expect(predictions).toMatchObject({ classes, rowCount: batches.flat().length });
      expect(await readAll(directory)).toEqual(batches.map((rows) => toBatch(rows, labelled)));
    },
  );
  await fc.assert(property, { numRuns: 20 });
});

test('a folder of Feather files is read in the order of their parts', async () => {
  const directory = join(root, 'feathers');
  await mkdir(directory);
  for (const part of [10, 2]) {
    const columns = { indices: list([[part]], new Int32()), probabilities: list([[1]], new Float32()) };
    await write(`feathers/part-${part}.feather`, columns, 'file');
  }
  const batches = await readAll(directory, { classes: 20 });
  expect(batches.map(({ probabilities }) => [...probabilities.indices])).toEqual([[2], [10]]);
});

const list = (
  rows: readonly (readonly (number | bigint)[])[],
  item: Int32 | Int64 | Float16 | Float32 | Float64,
) => vectorFromArray(rows, new List(new Field('item', item, true)));

async function write(
  name: string,
  columns: Record<string, Vector>,
  format: 'stream' | 'file',
): Promise<string> {
  await writeFile(join(root, name), tableToIPC(new Table(columns), format));
  return join(root, name);
}

test('files made elsewhere are read: file format, wider types, no labels', async () => {
  const columns = {
    indices: list([[3n, 1n], [], [7n]], new Int64()),
    probabilities: list([[0.5, 0.25], [], [1]], new Float64()),
  };
  const expected = {
    probabilities: {
      rows: 3,
      columns: 8,
      offsets: Int32Array.of(0, 2, 2, 3),
      indices: Int32Array.of(3, 1, 7),
      values: Float32Array.of(0.5, 0.25, 1),
    },
    labels: undefined,
  };
  for (const format of ['stream', 'file'] as const) {
    const path = await write(`foreign-${format}.arrow`, columns, format);
    expect(await readAll(path)).toEqual([expected]);
    expect((await readAll(path, { classes: 20 }))[0].probabilities.columns).toBe(20);
    expect((await readPredictions(path)).classes).toBe(8);
  }
});

test('every batch has as many classes as the largest class of any batch or label asks for', async () => {
  const part = (index: number, label: number) =>
    new Table({
      indices: list([[index]], new Int32()),
      probabilities: list([[1]], new Float32()),
      label: vectorFromArray([label], new Int32()),
    });
  const path = join(root, 'batches.arrow');
  await writeFile(path, tableToIPC(part(2, 0).concat(part(7, 1), part(1, 9)), 'stream'));
  const batches = await readAll(path);
  expect(batches.map(({ probabilities }) => probabilities.columns)).toEqual([10, 10, 10]);
});

test('rows that are no sub-distributions are named with file and row', async () => {
  const bad: [string, (number | bigint)[], number[]][] = [
    ['NaN', [1, 2], [0.5, Number.NaN]],
    ['negative', [1, 2], [0.5, -0.1]],
    ['sum', [1, 2], [0.6, 0.5]],
    ['range', [1, 60], [0.5, 0.5]],
    ['below', [1, -1], [0.5, 0.5]],
    ['twice', [4, 4], [0.5, 0.5]],
    ['lengths', [1, 2], [0.5]],
    ['infinite', [1], [Number.POSITIVE_INFINITY]],
  ];
  for (const [name, indices, probabilities] of bad) {
    const columns = {
      indices: list([[0], indices], new Int32()),
      probabilities: list([[1], probabilities], new Float32()),
    };
    const path = await write(`${name}.arrow`, columns, 'stream');
    await expect(readAll(path, { classes })).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringContaining(`${name}.arrow, row 1:`),
    });
  }
  await expect(readAll(join(root, 'sum.arrow'), { classes })).rejects.toThrow(
    /found 1\.1: divide each row by its sum or, if these are logits, store their softmax/,
  );
  const other = await write('other.arrow', { indices: list([[1]], new Int32()) }, 'file');
  await expect(readPredictions(other)).rejects.toMatchObject({ code: 'predictions-invalid' });
});

test('half precision, whole floats, and columns that nobody needs are no obstacle', async () => {
  const path = await write(
    'types.arrow',
    {
      indices: list([[0, 1], [2]], new Float64()),
      probabilities: list([[0.5, 0.25], [1]], new Float16()),
      site: vectorFromArray(['x', 'y'], new Dictionary(new Utf8(), new Int32())),
      note: vectorFromArray(['a', null]),
    },
    'file',
  );
  const [{ probabilities }] = await readAll(path);
  expect(probabilities).toMatchObject({
    columns: 3,
    indices: Int32Array.of(0, 1, 2),
    values: Float32Array.of(0.5, 0.25, 1),
  });
});

test.each([
  [
    'an index of 2^32 + 1',
    [2n ** 32n + 1n],
    new Int64(),
    /whole indices from 0 to 999999, found 4294967297.*ids/,
  ],
  ['an index of 15 million', [15_075_141], new Int32(), /found 15075141.*ids/],
  ['an index between two', [0.5], new Float64(), /whole indices .*found 0\.5/],
  ['an index that is no number', [Number.NaN], new Float64(), /found NaN/],
  ['a negative index', [-1], new Int32(), /found -1/],
  ['few indices far from 0', [900_000], new Int32(), /would mean 900001 classes, of which 1 occur/],
])('%s is refused before it is narrowed', async (name, indices, type, message) => {
  const columns = { indices: list([indices], type), probabilities: list([[1]], new Float32()) };
  const path = await write(`${name}.arrow`, columns, 'file');
  await expect(readAll(path)).rejects.toMatchObject({
    code: 'predictions-invalid',
    message: expect.stringMatching(message),
  });
});

test('labels that are ids, or no integers, are refused', async () => {
  const columns = { indices: list([[0], [1]], new Int32()), probabilities: list([[1], [1]], new Float32()) };
  for (const [name, label, message] of [
    [
      'ids',
      vectorFromArray([2_084_071, 15_075_141], new Int32()),
      /label from 0 to 999999, found 2084071.*ids/,
    ],
    ['wide', vectorFromArray([2n ** 32n, 1n], new Int64()), /found 4294967296/],
    ['float', vectorFromArray([0, 1.5], new Float64()), /label to hold integers.*Float64/],
    [
      'text',
      vectorFromArray(['a', 'b'], new Dictionary(new Utf8(), new Int32())),
      /label to hold integers.*Dictionary/,
    ],
  ] as const) {
    const path = await write(`label-${name}.arrow`, { ...columns, label }, 'file');
    await expect(readAll(path)).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringMatching(message),
    });
  }
});

test('a column that damage has left without a name is none that is wanted', async () => {
  const path = join(root, 'nameless.arrow');
  const { schema, batches } = new Table({ '': vectorFromArray([1], new Float32()) });
  Reflect.set(schema.fields[0], 'name', null);
  await writeFile(path, tableToIPC(new Table(schema, batches), 'stream'));
  await expect(readPredictions(path)).rejects.toMatchObject({ code: 'predictions-invalid' });
});

test('lists of width 0 are refused', async () => {
  const path = await write(
    'width.arrow',
    {
      indices: vectorFromArray([[], []], new FixedSizeList(0, new Field('item', new Int32(), true))),
      probabilities: list([[], []], new Float32()),
    },
    'file',
  );
  await expect(readAll(path)).rejects.toThrow(/lists of width 0/);
});

test('the number of classes in the metadata is a whole number, and that of the data set', async () => {
  const one = { indices: list([[0]], new Int32()), probabilities: list([[1]], new Float32()) };
  const withClasses = async (text: string) => {
    const path = await write(`metadata-${text}.arrow`, one, 'stream');
    const { schema, batches } = tableFromIPC(await readFile(path));
    const recorded = new Schema(schema.fields, new Map([['kd-spec.classes', text]]));
    await writeFile(path, tableToIPC(new Table(recorded, batches), 'stream'));
    return path;
  };
  for (const text of ['4.5', '0', '-3', '1e3', '', 'four', '99999999999']) {
    await expect(readPredictions(await withClasses(text))).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringContaining(JSON.stringify(text)),
    });
  }
  const four = await withClasses('4');
  expect((await readPredictions(four)).classes).toBe(4);
  await expect(readPredictions(four, { classes: 5 })).rejects.toThrow(
    /for 5 classes, but its metadata .* gives 4/,
  );
});

test('class names stand in the metadata, as a list or as the ClassLabel of a Hugging Face data set', async () => {
  const one = { indices: list([[0]], new Int32()), probabilities: list([[1]], new Float32()) };
  let made = 0;
  const withMetadata = async (entries: Readonly<Record<string, string>>) => {
    const path = await write(`names-${made++}.arrow`, one, 'stream');
    const { schema, batches } = tableFromIPC(await readFile(path));
    const recorded = new Schema(schema.fields, new Map(Object.entries(entries)));
    await writeFile(path, tableToIPC(new Table(recorded, batches), 'stream'));
    return readPredictions(path);
  };
  const huggingface = '{"info":{"features":{"label":{"names":["ash","oak"],"_type":"ClassLabel"}}}}';
  for (const entries of [{ huggingface }, { 'kd-spec.names': '["ash", "oak"]' }])
    expect(await withMetadata(entries)).toMatchObject({ classes: 2, names: ['ash', 'oak'] });
  for (const entries of [{}, { huggingface: '{' }, { huggingface: '{"info":{"features":{}}}' }])
    expect((await withMetadata(entries)).names).toBeUndefined();
  for (const [entries, says] of [
    [{ 'kd-spec.names': '["ash", "ash"]' }, /2 names, some of them twice/],
    [{ 'kd-spec.names': '["ash"]', 'kd-spec.classes': '3' }, /one name for each of 3 classes, found 1 names/],
    [{ 'kd-spec.names': 'ash, oak' }, /is not JSON: write the metadata kd-spec\.names as a JSON list/],
    [{ 'kd-spec.names': '[1, 2]' }, /expected a text/],
  ] as const)
    await expect(withMetadata(entries)).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringMatching(says),
    });
});

test('parts are read in the order of their numbers; missing ones, and orders that names do not tell, are refused', async () => {
  const part = (index: number) =>
    tableToIPC(
      new Table({ indices: list([[index]], new Int32()), probabilities: list([[1]], new Float32()) }),
      'stream',
    );
  const folderOf = async (names: readonly string[]) => {
    const directory = join(root, String(folders++));
    await mkdir(directory);
    for (const [index, name] of names.entries()) await writeFile(join(directory, name), part(index));
    return directory;
  };
  const order = async (names: readonly string[], options = {}) => {
    const predictions = await readPredictions(await folderOf(names), options);
    const indices = [];
    for await (const { probabilities } of predictions.rows()) indices.push(...probabilities.indices);
    return indices;
  };
  expect(await order(['part-2.arrow', 'part-10.arrow', 'part-1.arrow'])).toEqual([2, 0, 1]);
  expect(await order(['b.arrow', 'a.arrow'])).toEqual([1, 0]);
  await expect(order(['b.arrow', 'a.arrow'], { isOrdered: true })).rejects.toThrow(/order is not known/);
  await expect(order(['p-00000-of-00003.arrow', 'p-00002-of-00003.arrow'])).rejects.toThrow(
    /expected 3 files named -of-00003 .* found 2/,
  );
});

test.each([
  [
    'a Git LFS pointer',
    'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n',
    /git lfs pull/,
  ],
  ['Parquet', 'PAR1\x15\x04\x15', /it is a Parquet file/],
  ['NumPy', '\x93NUMPY\x01\x00v\x00', /it is a NumPy array/],
  ['gzip', '\x1f\x8b\x08\x00\x00\x00\x00\x00', /gunzip/],
])('%s named .arrow is named by what it is', async (name, text, message) => {
  const path = join(root, `kind-${name}.arrow`);
  await writeFile(path, Buffer.from(text, 'latin1'));
  await expect(readPredictions(path)).rejects.toMatchObject({
    code: 'shard-corrupt',
    message: expect.stringMatching(message),
  });
});
