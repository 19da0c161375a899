import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Binary,
  Field,
  Int64,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodePng } from '../image-codec.js';
import { splitNames } from '../source.js';
import { type HuggingFaceOptions, huggingFaceSource } from './hugging-face.js';

let root: string;
let png: Uint8Array;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-columns-'));
  png = await encodePng(new Uint8Array(64), { height: 8, width: 8, channels: 1 });
});
afterAll(() => rm(root, { recursive: true }));

const rows = 24;
const image = { _type: 'Image' };
const label = { _type: 'ClassLabel', names: ['a', 'b'] };
const value = (dtype: string) => ({ _type: 'Value', dtype });
const integers = (values: readonly (number | null)[]) =>
  vectorFromArray(
    values.map((one) => (one === null ? null : BigInt(one))),
    new Int64(),
  );
const alternating = () => integers(Array.from({ length: rows }, (_, row) => row % 2));
const pictures = (broken = -1) =>
  vectorFromArray(
    Array.from({ length: rows }, (_, row) => ({
      bytes: row === broken ? Uint8Array.of(1) : png,
      path: null,
    })),
    new Struct([new Field('bytes', new Binary(), true), new Field('path', new Utf8(), true)]),
  );

let made = 0;
/** A folder as `Dataset.save_to_disk` writes it. */
async function saved(columns: Readonly<Record<string, readonly [Vector, object]>>): Promise<string> {
  const directory = join(root, String(made++));
  await mkdir(directory);
  const entries = Object.entries(columns);
  const table = new Table(Object.fromEntries(entries.map(([name, [data]]) => [name, data])));
  await writeFile(join(directory, 'data-00000-of-00001.arrow'), tableToIPC(table, 'stream'));
  const features = Object.fromEntries(entries.map(([name, [, feature]]) => [name, feature]));
  await writeFile(join(directory, 'dataset_info.json'), `\ufeff${JSON.stringify({ features })}`);
  await writeFile(
    join(directory, 'state.json'),
    JSON.stringify({ _data_files: [{ filename: 'data-00000-of-00001.arrow' }] }),
  );
  return directory;
}

/** A folder as `DatasetDict.save_to_disk` writes it. */
async function savedParts(parts: Readonly<Record<string, Parameters<typeof saved>[0]>>): Promise<string> {
  const directory = join(root, String(made++));
  await mkdir(directory);
  for (const [part, columns] of Object.entries(parts))
    await rename(await saved(columns), join(directory, part));
  await writeFile(join(directory, 'dataset_dict.json'), JSON.stringify({ splits: Object.keys(parts) }));
  return directory;
}

async function read(directory: string, options: Partial<HuggingFaceOptions> = {}) {
  const source = await huggingFaceSource(directory, { imageSize: 8, channels: 1, seed: 1, ...options });
  const labels: number[] = [];
  const sizes: number[] = [];
  for (const split of splitNames) {
    const before = labels.length;
    for await (const one of source.images(split)) labels.push(one.label);
    sizes.push(labels.length - before);
  }
  const counts = source.classes.map((_, of) => labels.filter((one) => one === of).length);
  const announced = splitNames.map((split) => source.count(split));
  return { classes: source.classes, counts, sizes, announced, report: source.report?.() };
}

test('one of several columns of labels or images is chosen by name, and asked for otherwise', async () => {
  const labels = await saved({
    img: [pictures(), image],
    fine: [alternating(), label],
    coarse: [alternating(), label],
  });
  await expect(read(labels)).rejects.toThrow(/found fine, coarse .*--label-column/);
  expect(await read(labels, { labelColumn: 'coarse' })).toMatchObject({
    classes: ['a', 'b'],
    counts: [12, 12],
  });
  await expect(read(labels, { labelColumn: 'img' })).rejects.toThrow(/which are fine, coarse; found "img"/);
  const images = await saved({
    image: [pictures(), image],
    mask: [pictures(), image],
    label: [alternating(), label],
  });
  await expect(read(images)).rejects.toThrow(/found image, mask .*--image-column/);
  expect((await read(images, { imageColumn: 'image' })).counts).toEqual([12, 12]);
});

test('integers and texts are labels: their values are the classes, in order', async () => {
  const numbers = integers(Array.from({ length: rows }, (_, row) => [10, 9, -5][row % 3]));
  const ofNumbers = await read(await saved({ image: [pictures(), image], label: [numbers, value('int64')] }));
  expect(ofNumbers).toMatchObject({ classes: ['-5', '9', '10'], counts: [8, 8, 8] });
  expect(ofNumbers.report?.notes).toEqual([
    { what: 'a column of integers, whose values are the classes', count: 1, example: 'label' },
  ]);
  const names = Array.from({ length: rows }, (_, row) => ['oak', 'caf\u00e9', 'cafe\u0301'][row % 3]);
  const plain = vectorFromArray(names, new Utf8());
  const ofTexts = await read(await saved({ image: [pictures(), image], label: [plain, value('string')] }));
  expect(ofTexts).toMatchObject({ classes: ['caf\u00e9', 'oak'], counts: [16, 8] });
});

test('rows without a label are left out and counted', async () => {
  const some = integers(Array.from({ length: rows }, (_, row) => [null, -1, 0, 1][row % 4]));
  const { counts, report } = await read(await saved({ image: [pictures(), image], label: [some, label] }));
  expect(counts).toEqual([6, 6]);
  expect(report?.leftOut).toEqual([
    { what: 'rows without a label', count: 12, example: expect.stringMatching(/arrow, row \d+$/) },
  ]);
});

const column = (labels: Vector) => ({ image: [pictures(), image], label: [labels, label] }) as const;
const hidden = (value: -1 | null) => integers(Array.from({ length: rows }, () => value));

test.each([
  ['test', -1, [20, 24, 4]],
  ['test', null, [20, 24, 4]],
  ['validation', -1, [20, 4, 24]],
] as const)('a %s part whose labels are all %s is set aside from train', async (part, value, sizes) => {
  const labelled = column(alternating());
  const parts = { train: labelled, validation: labelled, test: labelled, [part]: column(hidden(value)) };
  const directory = await savedParts(parts);
  const { report, ...found } = await read(directory, { validationFraction: 0.15, testFraction: 0.15 });
  expect(found).toMatchObject({ classes: ['a', 'b'], sizes, announced: sizes });
  expect(report).toEqual({
    leftOut: [
      {
        what: 'rows without a label',
        count: rows,
        example: `${join(directory, part, 'data-00000-of-00001.arrow')}, row 0`,
      },
    ],
    notes: [
      { what: `a part without labelled rows: ${part} is set aside from train`, count: 1, example: directory },
    ],
  });
});

test('without a label are some rows of a part: the others are the part, and are what is counted', async () => {
  const some = integers(Array.from({ length: rows }, (_, row) => [0, -1, 1][row % 3]));
  const parts = { train: column(alternating()), validation: column(alternating()), test: column(some) };
  const { sizes, announced, report } = await read(await savedParts(parts));
  expect(sizes).toEqual([24, 24, 16]);
  expect(announced).toEqual(sizes);
  expect(report?.notes).toEqual([]);
  expect(report?.leftOut).toEqual([
    { what: 'rows without a label', count: 8, example: expect.stringMatching(/test.data.*arrow, row 1$/) },
  ]);
});

test('training rows without any label are refused, with what helps', async () => {
  for (const value of [-1, null] as const) {
    const parts = { train: column(hidden(value)), test: column(alternating()) };
    await expect(read(await savedParts(parts))).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringMatching(
        /expected labelled rows in the training part, found none among 24 .*-1 among integers.*--label-column/,
      ),
    });
  }
});

test('a label that is no class is named with its row', async () => {
  const wrong = integers(Array.from({ length: rows }, (_, row) => (row === 5 ? 2 : row % 2)));
  await expect(read(await saved(column(wrong)))).rejects.toThrow(
    /arrow, row 5: found the label "2" in the train part, which is none of the 2 names of its ClassLabel/,
  );
  const texts = (names: readonly string[]) =>
    ({
      image: [pictures(), image],
      label: [
        vectorFromArray(
          Array.from({ length: rows }, (_, row) => names[row % names.length]),
          new Utf8(),
        ),
        value('string'),
      ],
    }) as const;
  const parts = { train: texts(['oak', 'elm']), test: texts(['oak', 'elm', 'fir']) };
  await expect(read(await savedParts(parts))).rejects.toThrow(
    /test.data.*arrow, row 2: found the label "fir" in the test part.*add training images of it/,
  );
});

test('texts are classes as they stand, by code points, even where they look like numbers', async () => {
  const names = Array.from({ length: rows }, (_, row) => ['9', '10', ' 9', '-1'][row % 4]);
  const columns = {
    image: [pictures(), image],
    label: [vectorFromArray(names, new Utf8()), value('string')],
  } as const;
  expect(await read(await saved(columns))).toMatchObject({
    classes: [' 9', '-1', '10', '9'],
    counts: [6, 6, 6, 6],
  });
});

test('groups that stand in several parts are warned of; a part without the column of groups is taken', async () => {
  const vendors = vectorFromArray(
    Array.from({ length: rows }, (_, row) => `v${Math.floor(row / 4)}`),
    new Utf8(),
  );
  const grouped = { ...column(alternating()), vendor: [vendors, value('string')] } as const;
  const torn = await read(await savedParts({ train: grouped, test: grouped }), { group: 'vendor' });
  expect(torn.report?.notes.filter(({ isWarning }) => isWarning)).toEqual([
    {
      what: 'groups that the source itself has on both sides of a split',
      count: 6,
      example: 'v0',
      isWarning: true,
    },
  ]);
  const plain = await savedParts({ train: grouped, test: column(alternating()) });
  const { sizes } = await read(plain, { group: 'vendor', validationFraction: 0.2 });
  expect(sizes).toEqual([20, 4, 24]);
  await expect(read(plain, { group: 'maker' })).rejects.toThrow(/--group.*found "maker"/);
});

test('a column of ids is not taken for labels unless a person says so', async () => {
  const ids = integers(Array.from({ length: rows }, (_, row) => 1000 + row));
  const directory = await saved({ image: [pictures(), image], id: [ids, value('int64')] });
  await expect(read(directory)).rejects.toThrow(/another value in each of 24 rows: is it an id\?/);
  expect((await read(directory, { labelColumn: 'id' })).classes).toHaveLength(rows);
  const real = await saved({ image: [pictures(), image], label: [alternating(), value('float32')] });
  await expect(read(real)).rejects.toThrow(/found none .*cast one/);
});

test('a row whose image cannot be read is named with its row, or left out', async () => {
  const directory = await saved({ image: [pictures(7), image], label: [alternating(), label] });
  await expect(read(directory)).rejects.toMatchObject({
    code: 'image-unreadable',
    message: expect.stringMatching(/arrow, row 7,.*--on-error skip/),
  });
  expect((await read(directory, { onError: 'skip' })).counts).toEqual([12, 11]);
});
