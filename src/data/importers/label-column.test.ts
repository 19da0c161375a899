import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
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

async function read(directory: string, options: Partial<HuggingFaceOptions> = {}) {
  const source = await huggingFaceSource(directory, { imageSize: 8, channels: 1, seed: 1, ...options });
  const labels: number[] = [];
  for (const split of splitNames) for await (const one of source.images(split)) labels.push(one.label);
  const counts = source.classes.map((_, of) => labels.filter((one) => one === of).length);
  return { classes: source.classes, counts, report: source.report?.() };
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
