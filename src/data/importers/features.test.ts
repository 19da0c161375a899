import { mkdir, mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  Dictionary,
  Field,
  FixedSizeList,
  Float32,
  Int32,
  Schema,
  Table,
  tableToIPC,
  Utf8,
  Utf8View,
  vectorFromArray,
} from 'apache-arrow';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { npy, npz } from '../../../test/support/numpy-arrays.js';
import { categories } from '../arrow-columns.js';
import { imageBatches } from '../batches.js';
import { openDataset } from '../dataset.js';
import { readPredictions } from '../predictions.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { writeDataset } from '../write-dataset.js';
import { featuresSource } from './features.js';
import { recognise } from './importers.js';

// What NumPy and pyarrow write is checked in test/python.

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-features-'));
});
afterAll(() => rm(root, { recursive: true }));

let made = 0;
async function folder(files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const directory = join(root, String(made++));
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), bytes);
  }
  return directory;
}

const rows = 600;
const names = ['ash', 'b\u0153uf', 'oak'];
const numbers = Array.from({ length: rows }, (_, row) => row);
/** The features of a row tell it: (row, -row, row / 2). Its class is row mod 3, its vendor row / 10. */
const features = Float32Array.from(numbers.flatMap((row) => [row, -row, row / 2]));
const labels = Int32Array.from(numbers, (row) => row % 3);
const texts = numbers.map((row) => names[row % 3]);
const vendors = Int32Array.from(numbers, (row) => Math.floor(row / 10));
const splits = numbers.map((row) => ['train', 'train', 'val', 'test'][row % 4]);
const logits = Float32Array.from(
  numbers.flatMap((row) => [0, 1, 2].map((label) => (label === row % 3 ? 3 : 0))),
);

const open = (source: string, more = {}) => featuresSource(source, { imageSize: 8, seed: 1, ...more });

/** The features of each training row, and its class behind them. */
async function rowsOf(path: string): Promise<readonly (readonly (number | string)[])[]> {
  const source = await open(path);
  const found = [];
  for await (const { pixels, label } of source.images('train'))
    found.push([...new Float32Array(pixels.slice().buffer), source.classes[label]]);
  return found;
}

/** The rows of a split, in their order. */
async function shown(source: DatasetSource, split: SplitName): Promise<readonly number[]> {
  const found = [];
  for await (const { pixels, label } of source.images(split)) {
    const values = new Float32Array(pixels.slice().buffer);
    const [row] = values;
    expect([...values.subarray(0, 3)]).toEqual([row, row === 0 ? -0 : -row, row / 2]);
    expect(source.classes[label]).toBe(names[row % 3]);
    found.push(row);
  }
  expect(found).toHaveLength(source.count(split));
  return found;
}
const ascending = (values: readonly number[]) => values.toSorted((a, b) => a - b);

function arrow(columns: Record<string, unknown>): Uint8Array {
  return tableToIPC(new Table(columns as never), 'file');
}
const listed = () => {
  const type = new FixedSizeList(3, new Field('item', new Float32(), false));
  return vectorFromArray(
    numbers.map((row) => [row, -row, row / 2]),
    type,
  );
};

test.each<[string, () => Readonly<Record<string, Uint8Array | string>>]>([
  ['a.npz', () => ({ 'a.npz': npz({ embeddings: npy(features, [rows, 3]), label: npy(texts, [rows]) }) })],
  [
    'a.npz',
    () => ({
      'a.npz': npz(
        { X: npy(features, [rows, 3]), y: npy(labels, [rows]), classes: npy(names, [3]) },
        { isPacked: true },
      ),
    }),
  ],
  [
    '',
    () => ({
      'features.npy': npy(features, [rows, 3]),
      'labels.npy': npy(labels, [rows]),
      'classes.txt': `${names.join('\n')}\n`,
    }),
  ],
  [
    'mine.npy',
    () => ({
      'mine.npy': npy(features, [rows, 3]),
      'labels.npy': npy(texts, [rows]),
      'other.npy': npy(features, [3, rows]),
    }),
  ],
  [
    'a.arrow',
    () => ({ 'a.arrow': arrow({ features: listed(), label: vectorFromArray(texts, new Utf8()) }) }),
  ],
])('%s: rows with their labels, shuffled and divided by seed', async (name, files) => {
  const path = join(await folder(files()), name);
  expect((await recognise(path)).name).toBe('features');
  const source = await open(path);
  expect(source).toMatchObject({
    classes: names,
    image: { height: 1, width: 3, channels: 1, isFeatures: true },
  });
  const train = await shown(source, 'train');
  expect(train).not.toEqual(ascending(train));
  expect(await shown(await open(path), 'train')).toEqual(train);
  const all = [...train, ...(await shown(source, 'validation')), ...(await shown(source, 'test'))];
  expect(ascending(all)).toEqual(numbers);
  expect(splitNames.map((split) => source.count(split))).toEqual([480, 60, 60]);
});

test('a column split, parts by file, and groups', async () => {
  const arrays = {
    features: npy(features, [rows, 3]),
    label: npy(texts, [rows]),
    vendor: npy(vendors, [rows]),
  };
  const directory = await folder({
    'divided.npz': npz({ ...arrays, split: npy(splits, [rows]) }),
    'plain.npz': npz(arrays),
    'parts/train.npz': npz(arrays),
    'parts/test.npz': npz(arrays),
  });
  const byColumn = await open(join(directory, 'divided.npz'));
  expect(ascending(await shown(byColumn, 'train'))).toEqual(numbers.filter((row) => row % 4 < 2));
  expect(ascending(await shown(byColumn, 'validation'))).toEqual(numbers.filter((row) => row % 4 === 2));
  expect(ascending(await shown(byColumn, 'test'))).toEqual(numbers.filter((row) => row % 4 === 3));
  const parts = await open(join(directory, 'parts'));
  expect(splitNames.map((split) => parts.count(split))).toEqual([540, 60, 600]);
  expect(ascending(await shown(parts, 'test'))).toEqual(numbers);
  const grouped = await open(join(directory, 'plain.npz'), { group: 'vendor' });
  const groups = [];
  for (const split of splitNames)
    groups.push(new Set((await shown(grouped, split)).map((row) => Math.floor(row / 10))));
  expect(groups.map(({ size }) => size)).toEqual([48, 6, 6]);
  expect(new Set(groups.flatMap((one) => [...one])).size).toBe(60);
});

test('logits and probabilities follow the features; classes are matched by name', async () => {
  const probabilities = logits.map((value) => Math.exp(value) / (Math.exp(3) + 2));
  const directory = await folder({
    'logits.npz': npz({
      features: npy(features, [rows, 3]),
      logits: npy(logits, [rows, 3]),
      label: npy(texts, [rows]),
      classes: npy(['oak', 'ash', 'b\u0153uf'], [3]),
    }),
    'odds.npz': npz({
      probabilities: npy(probabilities, [rows, 3]),
      label: npy(labels, [rows]),
      classes: npy(names, [3]),
    }),
    'wrong.npz': npz({ probabilities: npy(logits, [rows, 3]), label: npy(labels, [rows]) }),
    'unnamed.npz': npz({ logits: npy(logits, [rows, 3]), label: npy(texts, [rows]) }),
  });
  const source = await open(join(directory, 'logits.npz'));
  expect(source).toMatchObject({
    classes: ['oak', 'ash', 'b\u0153uf'],
    image: { width: 6, logits: 3, isFeatures: true },
  });
  await shown(source, 'train');
  const odds = await open(join(directory, 'odds.npz'));
  expect(odds.image).toEqual({ height: 1, width: 3, channels: 1, isFeatures: true, logits: 3 });
  for await (const { pixels, label } of odds.images('test')) {
    const values = [...new Float32Array(pixels.slice().buffer)];
    expect(Math.exp(values[label])).toBeCloseTo(Math.exp(3) / (Math.exp(3) + 2), 5);
  }
  await expect(async () => {
    for await (const _ of (await open(join(directory, 'wrong.npz'))).images('train'));
  }).rejects.toThrow(/expected probabilities.*call the column logits/);
  await expect(open(join(directory, 'unnamed.npz'))).rejects.toThrow(
    /"ash".*none of the 3 columns of logits/,
  );
});

test('written as a data set and read again: the same numbers, to the bit', async () => {
  const directory = await folder({
    'a.npz': npz({ features: npy(features, [rows, 3]), label: npy(texts, [rows]) }),
  });
  await writeDataset(join(directory, 'dataset'), await open(join(directory, 'a.npz')), { shardBytes: 2000 });
  const { image, splits: parts, classes } = await openDataset(join(directory, 'dataset'));
  expect(image).toEqual({ height: 1, width: 3, channels: 1, isFeatures: true });
  const seen: number[] = [];
  for (const split of splitNames) {
    for await (const { images, labels: found, count } of imageBatches(parts[split], image, {
      batchSize: 7,
    })) {
      for (let row = 0; row < count; row++) {
        const [first, second, third] = images.subarray(3 * row);
        expect([second, third]).toEqual([first === 0 ? -0 : -first, first / 2]);
        expect(classes[found[row]]).toBe(names[first % 3]);
        seen.push(first);
      }
    }
  }
  expect(ascending(seen)).toEqual(numbers);
});

test('predictions of all classes as arrays are read as sparse rows, with labels and names', async () => {
  const directory = await folder({
    'p.npz': npz({ logits: npy(logits, [rows, 3]), label: npy(texts, [rows]), classes: npy(names, [3]) }),
    'features.npz': npz({ features: npy(features, [rows, 3]) }),
    'p.arrow': arrow({
      logits: vectorFromArray(
        numbers.map((row) => [...logits.subarray(3 * row, 3 * row + 3)]),
        new FixedSizeList(3, new Field('item', new Float32(), false)),
      ),
      label: vectorFromArray([...labels], new Int32()),
    }),
  });
  for (const [name, ownNames] of [
    ['p.npz', names],
    ['p.arrow', undefined],
  ] as const) {
    const predictions = await readPredictions(join(directory, name));
    expect(predictions).toMatchObject({ classes: 3, names: ownNames, rowCount: rows });
    let row = 0;
    for await (const { probabilities, labels: found } of predictions.rows()) {
      for (let at = 0; at < probabilities.rows; at++, row++) {
        expect(found?.[at]).toBe(row % 3);
        const start = probabilities.offsets[at];
        expect(probabilities.indices[start]).toBe(row % 3);
        expect(probabilities.values[start]).toBeCloseTo(Math.exp(3) / (Math.exp(3) + 2), 5);
      }
    }
    expect(row).toBe(rows);
  }
  await expect(readPredictions(join(directory, 'p.npz'), { classes: 4 })).rejects.toMatchObject({
    code: 'predictions-invalid',
  });
  await expect(readPredictions(join(directory, 'features.npz'))).rejects.toThrow(
    /called logits or probabilities/,
  );
});

test.each<[string, () => Readonly<Record<string, Buffer>>, RegExp]>([
  [
    'rows that are not finite',
    () => ({
      features: npy(
        features.map((value) => (value === 7 ? Number.NaN : value)),
        [rows, 3],
      ),
      label: npy(texts, [rows]),
    }),
    /row 7: expected finite numbers/,
  ],
  ['no labels', () => ({ features: npy(features, [rows, 3]) }), /expected labels.*features \(3 numbers\)/],
  ['no features', () => ({ label: npy(texts, [rows]) }), /expected features/],
  [
    'arrays of other lengths',
    () => ({ features: npy(features, [rows, 3]), label: npy(texts.slice(1), [rows - 1]) }),
    /expected 600 rows in each array, found 599 in label/,
  ],
  [
    'more than there is',
    () => ({ features: npy(features, [rows * 1000, 3]), label: npy(texts, [rows]) }),
    /expected 600000 x 3 values/,
  ],
  [
    'countless rows of nothing',
    () => ({ features: npy(new Float32Array(), [1e14, 0]), label: npy(texts, [rows]) }),
    /array features is not a sound NumPy file: a shape of \(100000000000000, 0\), rows of no values/,
  ],
])('%s: refused', async (_, arrays, message) => {
  const directory = await folder({ 'a.npz': npz(arrays()) });
  await expect(async () => {
    for await (const _ of (await open(join(directory, 'a.npz'))).images('train'));
  }).rejects.toMatchObject({ name: 'KdSpecError', message: expect.stringMatching(message) });
  const links = '/proc/self/fd'; // on Linux, files that this process has open
  const opened = await readdir(links).catch(() => []);
  const paths = await Promise.all(opened.map((name) => readlink(join(links, name)).catch(() => '')));
  expect(paths.filter((path) => path.startsWith(directory))).toEqual([]);
});

/** The features with another type or order in the header. */
const header = (type: string, order = 'False') => {
  const bytes = npy(features, [rows, 3]);
  return Buffer.from(
    bytes.toString('latin1').replace("'<f4'", `'${type}'`).replace('False', order),
    'latin1',
  );
};

test('arrays that cannot be read are passed over where nobody needs them, and refused where their name says what they are', async () => {
  const sound = { features: npy(features, [rows, 3]), label: npy(texts, [rows]) };
  const extra = { args: header('|O8'), mask: header('|b1'), complex: header('<c8') };
  const directory = await folder({
    'a.npz': npz({ ...extra, ...sound }),
    'b.npz': npz({ ...sound, logits: header('<c8') }),
    'c.npz': npz({ ...sound, classes: header('|O8') }),
    'd.npz': npz({ complex: extra.complex, label: sound.label }),
  });
  const source = await open(join(directory, 'a.npz'), { validationFraction: 0, testFraction: 0 });
  expect((await shown(source, 'train')).length).toBe(rows);
  await expect(open(join(directory, 'b.npz'))).rejects.toThrow(/array logits: .*the type <c8/);
  await expect(open(join(directory, 'c.npz'))).rejects.toThrow(/array classes: .*pickles/);
  await expect(open(join(directory, 'd.npz'))).rejects.toThrow(/features.*found label.*complex, .*<c8/);
  await expect(open(join(directory, 'a.npz'), { imageColumn: 'complex' })).rejects.toThrow(/<c8/);
});

test('matrices in the order of Fortran and values of the other byte order are read as the same rows', async () => {
  const turned = Float32Array.from(
    { length: rows * 3 },
    (_, at) => features[(at % rows) * 3 + Math.floor(at / rows)],
  );
  const columns = Buffer.from(npy(turned, [rows, 3]).toString('latin1').replace('False', 'True '), 'latin1');
  const swapped = (bytes: Buffer, type: string) => {
    const start = 10 + bytes.readUInt16LE(8);
    const head = bytes.toString('latin1', 0, start).replace(`'<${type}`, `'>${type}`);
    return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(bytes.subarray(start)).swap32()]);
  };
  const directory = await folder({
    'plain.npz': npz({ features: npy(features, [rows, 3]), label: npy(texts, [rows]) }),
    'columns.npz': npz({ features: columns, label: swapped(npy(texts, [rows]), 'U') }),
    'swapped.npz': npz({ features: swapped(npy(features, [rows, 3]), 'f4'), label: npy(texts, [rows]) }),
  });
  const plain = await rowsOf(join(directory, 'plain.npz'));
  expect(plain.length).toBeGreaterThan(256);
  expect(await rowsOf(join(directory, 'columns.npz'))).toEqual(plain);
  expect(await rowsOf(join(directory, 'swapped.npz'))).toEqual(plain);
});

test('a file of which only the footer tells where its batches stand, as Polars writes it, and texts as views', async () => {
  const long = names.map((name) => `${name}, a tree of a long name`);
  const views = vectorFromArray(
    numbers.map((row) => (row === 5 ? null : row % 2 === 0 ? names[row % 3] : long[row % 3])),
    new Utf8View(),
  );
  // apache-arrow's first batch stands at byte 8, which the footer says; here a schema without a frame comes before it.
  const written = Buffer.from(arrow({ features: listed(), label: views }));
  const place = written.lastIndexOf(Buffer.from(BigInt64Array.of(8n).buffer));
  const bytes = Buffer.concat([written.subarray(0, 8), Buffer.alloc(64, 4), written.subarray(8)]);
  bytes.writeBigInt64LE(8n + 64n, 64 + place);
  const directory = await folder({ 'a.arrow': bytes, 'b.arrow': bytes.subarray(0, -20) });
  const source = await open(join(directory, 'a.arrow'), { validationFraction: 0, testFraction: 0 });
  expect(source.classes).toEqual([...names, ...long].sort());
  let read = 0;
  for await (const { pixels, label } of source.images('train')) {
    const [row] = new Float32Array(pixels.slice().buffer);
    expect(source.classes[label]).toBe(row % 2 === 0 ? names[row % 3] : long[row % 3]);
    read++;
  }
  expect(read).toBe(rows - 1);
  await expect(open(join(directory, 'b.arrow'))).rejects.toMatchObject({ code: 'shard-corrupt' });
  // The batch says that one buffer holds the texts; with 2^30 of them a reader would count for minutes.
  const counts = Buffer.from(arrow({ label: views }));
  const list = counts.indexOf(
    Buffer.concat([Buffer.from([1, 0, 0, 0]), Buffer.from(BigInt64Array.of(1n).buffer)]),
  );
  counts.writeBigInt64LE(2n ** 30n, list + 4);
  await writeFile(join(directory, 'c.arrow'), counts);
  await expect(open(join(directory, 'c.arrow'))).rejects.toThrow(/announces more than it holds/);
});

test('categorical labels, as pandas and Polars write them, are the texts of their dictionary', async () => {
  const some = numbers.map((row) => (row === 7 ? null : names[row % 3]));
  const categorical = vectorFromArray(some, new Dictionary(new Utf8(), new Int32()));
  const directory = await folder({
    'a.arrow': arrow({ features: listed(), label: categorical }),
    'plain.arrow': arrow({ features: listed(), label: vectorFromArray(some, new Utf8()) }),
  });
  const found = await rowsOf(join(directory, 'a.arrow'));
  expect(found).toEqual(await rowsOf(join(directory, 'plain.arrow')));
  expect(found.length).toBeGreaterThan(256);
});

test('an index of a categorical column that its dictionary lacks is refused', () => {
  const categorical = vectorFromArray(['ash', 'oak'], new Dictionary(new Utf8(), new Int32())).data[0];
  categorical.values.set([5], 1);
  const at = categories(categorical, { path: 'a.arrow', firstRow: 0 });
  expect(at(0)).toBe('ash');
  expect(() => at(1)).toThrow(/has the value 5, which its dictionary lacks/);
});

test('labels of another type are refused with what makes them labels', async () => {
  const floats32 = Float32Array.from(labels);
  const sound = { features: npy(features, [rows, 3]) };
  const directory = await folder({
    'floats.npz': npz({ ...sound, label: npy(floats32, [rows]) }),
    'one-hot.npz': npz({ ...sound, label: npy(logits, [rows, 3]) }),
    'column.npz': npz({ ...sound, label: npy(labels, [rows, 1]) }),
    'apart.npz': npz({ features: npy(features, [rows, 3, 1, 1]), label: npy(texts, [rows]) }),
    'categories.arrow': arrow({
      features: listed(),
      label: vectorFromArray([...labels], new Dictionary(new Float32(), new Int32())),
    }),
    'floats.arrow': arrow({ features: listed(), label: vectorFromArray([...labels], new Float32()) }),
  });
  for (const [name, message] of [
    ['floats.npz', /labels in label, one integer or text a row, found floats: .*astype\(int\)/],
    ['one-hot.npz', /found 3 numbers in each row: of one-hot labels take argmax/],
    ['column.npz', /found 1 numbers in each row: .*\[:, 0\]/],
    ['apart.npz', /features.*found label.*features \(a shape of \(600, 3, 1, 1\)\)/],
    ['categories.arrow', /found Dictionary<Int32, Float32>: .*astype\(str\)/],
    ['floats.arrow', /found Float32: write them as plain values/],
  ] as const)
    await expect(open(join(directory, name))).rejects.toThrow(message);
  await expect(open(join(directory, 'floats.npz'), { labelColumn: 'label' })).rejects.toThrow(/found floats/);
});

test('features of more axes beside logits, and probabilities by the name of logits, are refused, not passed over', async () => {
  const label = npy(labels, [rows]);
  const probabilities = Float32Array.from({ length: rows * 3 }, (_, at) => [0.5, 0.3, 0.2][at % 3]);
  const directory = await folder({
    'map.npz': npz({ features: npy(features, [rows, 3, 1, 1]), logits: npy(logits, [rows, 3]), label }),
    'steps.npz': npz({ features: npy(features, [rows, 3]), logits: npy(logits, [rows, 1, 3]), label }),
    'softmax.npz': npz({ features: npy(features, [rows, 3]), logits: npy(probabilities, [rows, 3]), label }),
  });
  await expect(open(join(directory, 'map.npz'))).rejects.toThrow(
    /numbers for each row in features, found a shape of \(600, 3, 1, 1\): .*reshape/,
  );
  await expect(open(join(directory, 'steps.npz'))).rejects.toThrow(/in logits, found a shape of/);
  const source = await open(join(directory, 'softmax.npz'));
  await expect(shown(source, 'train')).rejects.toThrow(/sum to 1 .*call the column probabilities/);
});

test('a label that no column of logits has is refused with what holds the names', async () => {
  const sound = {
    features: npy(features, [rows, 3]),
    logits: npy(logits, [rows, 3]),
    label: npy(texts, [rows]),
  };
  const directory = await folder({
    'unnamed.npz': npz(sound),
    'named.npz': npz({ ...sound, classes: npy(['ash', 'elm', 'oak'], [3]) }),
    'others.txt': 'elm\nash\noak\n',
  });
  await expect(open(join(directory, 'unnamed.npz'))).rejects.toThrow(
    /"ash".*none of the 3 columns of logits, which have no names.*--class-names FILE/,
  );
  await expect(open(join(directory, 'named.npz'))).rejects.toThrow(
    /none of the 3 classes that .*named\.npz names: add it there/,
  );
  await expect(
    open(join(directory, 'unnamed.npz'), { classNames: join(directory, 'others.txt') }),
  ).rejects.toThrow(/none of the 3 classes of --class-names/);
});

test('names of classes stand in the metadata of Arrow and Parquet files, as a list under kd-spec.names', async () => {
  const ordered = ['oak', 'ash', 'b\u0153uf'];
  const table = (entries: Readonly<Record<string, string>>) => {
    const { schema, batches } = new Table({
      features: listed(),
      logits: listed(),
      label: vectorFromArray(texts, new Utf8()),
    });
    return tableToIPC(
      new Table(new Schema(schema.fields, new Map(Object.entries(entries))), batches),
      'file',
    );
  };
  const parquet = (list: readonly string[]) =>
    Buffer.from(
      parquetWriteBuffer({
        columnData: [
          { name: 'logits', data: numbers.map((row) => [row, -row, row / 2]) },
          { name: 'label', data: texts },
        ],
        schema: [
          { name: 'root', num_children: 2 },
          { name: 'logits', num_children: 1, converted_type: 'LIST', repetition_type: 'REQUIRED' },
          { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
          { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
          { name: 'label', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
        ],
        kvMetadata: [{ key: 'kd-spec.names', value: JSON.stringify(list) }],
      }),
    );
  const directory = await folder({
    'a.arrow': table({ 'kd-spec.names': JSON.stringify(ordered) }),
    'a.parquet': parquet(ordered),
    'twice.arrow': table({ 'kd-spec.names': '["ash", "ash"]' }),
    'twice.parquet': parquet(['ash', 'ash']),
    'few.parquet': parquet(['ash', 'oak']),
  });
  for (const name of ['a.arrow', 'a.parquet']) {
    expect((await open(join(directory, name))).classes).toEqual(ordered);
    expect((await readPredictions(join(directory, name))).names).toEqual(ordered);
  }
  for (const name of ['twice.arrow', 'twice.parquet'])
    await expect(open(join(directory, name))).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringMatching(/twice\.\w+: expected in the metadata one name for each class, .*twice/),
    });
  await expect(open(join(directory, 'few.parquet'))).rejects.toThrow(
    /a name for each of the 3 columns of logits, found 2/,
  );
});

test('what NumPy can save and features cannot be is refused by name', async () => {
  for (const [bytes, message] of [
    [header('|O8'), /objects are pickles/],
    [header('<f4', 'True ').subarray(0, -4), /expected 600 x 3 values/],
    [Buffer.from('\x80\x04pickle', 'latin1'), /Python pickle/],
    [npz({ a: npy(features, [rows, 3]) }).subarray(0, -30), /directory/],
  ] as const) {
    const directory = await folder({ 'features.npz': bytes });
    await expect(open(join(directory, 'features.npz'))).rejects.toMatchObject({
      name: 'KdSpecError',
      message: expect.stringMatching(message),
    });
  }
  const integers = arrow({ features: listed(), id: vectorFromArray(numbers, new Int32()) });
  const directory = await folder({ 'a.arrow': integers });
  await expect(open(join(directory, 'a.arrow'))).rejects.toThrow(/--label-column/);
  await expect(open(join(directory, 'a.arrow'), { labelColumn: 'id', group: '(x)' })).rejects.toMatchObject({
    code: 'option-invalid',
  });
});

test.each([
  [-0.25, 'found the negative number -0.25 in row 7: if these are logits, call the column logits'],
  [Number.NaN, 'found something that is not a number in row 7: remove the row'],
  [0.5, 'found a sum of 1.25 in row 7: divide each row by its sum or, if these are logits, call'],
])('probabilities with %d in a row are refused, with the row', async (value, message) => {
  const probabilities = Float32Array.from({ length: rows * 2 }, (_, at) => [0.75, 0.25][at % 2]);
  probabilities[15] = value;
  const source = join(
    await folder({
      'x.npz': npz({
        features: npy(features, [rows, 3]),
        probabilities: npy(probabilities, [rows, 2]),
        label: npy(
          labels.map((label) => label % 2),
          [rows],
        ),
      }),
    }),
    'x.npz',
  );
  const opened = await open(source, { validationFraction: 0, testFraction: 0 });
  await expect(shown(opened, 'train')).rejects.toThrow(message);
});
