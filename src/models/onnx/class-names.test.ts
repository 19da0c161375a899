import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { modelFile, node } from '../../../test/support/onnx-models.js';
import { findClassNames } from './class-names.js';
import { readOnnxModel } from './model-file.js';
import { parseNames, readNames } from './name-lists.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-names-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

async function namesOf(
  outputs: number,
  metadata: Readonly<Record<string, string>>,
  options: Partial<Parameters<typeof findClassNames>[2]> = {},
) {
  const path = join(folder, 'model.onnx');
  await writeFile(
    path,
    modelFile({ nodes: [node('Flatten', ['image'], ['out'])], initializers: [], outputs: ['out'], metadata }),
  );
  return findClassNames(await readOnnxModel(path), outputs, { isSequence: false, ...options });
}

test.each([
  ['a line each', 'cat\ndog\ncow\n'],
  ['Windows lines', 'cat\r\ndog\r\ncow\r\n'],
  ['after a byte-order mark', '\uFEFFcat\ndog\ncow'],
  ['a JSON list', '["cat", "dog", "cow"]'],
  ['a JSON mapping, in any order', '{"1": "dog", "0": "cat", "2": "cow"}'],
  ['a JSON mapping from name to index', '{"dog": 1, "cat": 0, "cow": 2}'],
  ['what transformers writes', '{"architectures": ["X"], "id2label": {"0": "cat", "1": "dog", "2": "cow"}}'],
  ['a Python dict, as Ultralytics writes it', "{0: 'cat', 1: 'dog', 2: 'cow'}"],
])('names are read as %s', (_, text) => {
  expect(parseNames(text)).toMatchObject({ names: ['cat', 'dog', 'cow'], notes: [] });
});

test('a quote in a Python name, and names that are spaces', () => {
  expect(parseNames("{0: \"dog's bed\", 1: 'it\\'s'}")?.names).toEqual(["dog's bed", "it's"]);
  expect(parseNames(' \na\n')?.names).toEqual([' ', 'a']);
});

test('a mapping with a gap, or of something else, is no list of names', () => {
  expect(parseNames('{"0": "cat", "2": "cow"}')).toBeUndefined();
  expect(parseNames('{"a": "b"}')).toBeUndefined();
  expect(parseNames('[1, 2]')).toBeUndefined();
  expect(parseNames('{"cat": 0, "cow": 2}')).toBeUndefined();
  expect(parseNames('{\n"0": ["n01"],\n"1": ["n02", "dog"]\n}')).toBeUndefined(); // and no four lines
  expect(parseNames('{"cat": 2, "cow": 3}')).toBeUndefined();
  expect(parseNames('{"cat": 0, "cow": 0}')).toBeUndefined();
  expect(parseNames('{}')).toBeUndefined();
});

test('metadata, config.json and a file, the file first', async () => {
  expect(await namesOf(2, { names: "{0: 'a', 1: 'b'}" })).toMatchObject({
    names: ['a', 'b'],
    blank: undefined,
  });
  await writeFile(join(folder, 'config.json'), JSON.stringify({ id2label: { 0: 'x', 1: 'y' } }));
  expect((await namesOf(2, {})).names).toEqual(['x', 'y']);
  const labels = join(folder, 'labels.txt');
  await writeFile(labels, 'one\ntwo\n');
  expect((await namesOf(2, { names: "{0: 'a', 1: 'b'}" }, { labels })).names).toEqual(['one', 'two']);
  await writeFile(labels, '\uFEFFone\ntwo\n', 'utf16le');
  await expect(namesOf(2, {}, { labels })).rejects.toThrow(/UTF-16/);
});

test.each([
  ['a text', { id2label: 'cat,dog' }, /config\.json: "id2label" cannot be read as a list of 2 names/],
  ['a list of numbers', { id2label: [1, 2] }, /"id2label" cannot be read/],
  ['a gap', { id2label: { 0: 'a', 3: 'b' }, labels: 7 }, /"id2label" and "labels" cannot be read/],
])('names of config.json that cannot be read are told with a warning: %s', async (_, config, message) => {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const { names, source, warnings } = await namesOf(2, {});
  expect({ names, source }).toEqual({ names: ['0', '1'], source: 'none' });
  expect(warnings).toEqual([expect.stringMatching(message)]);
  expect((await namesOf(2, { names: '["a", "b"]' })).warnings).toEqual([]);
});

test('a config.json without names, and one with a byte-order mark, need no warning', async () => {
  const path = join(folder, 'config.json');
  await writeFile(path, JSON.stringify({ architectures: ['X'], id2label: null }));
  expect((await namesOf(2, {})).warnings).toEqual([]);
  await writeFile(path, `\uFEFF${JSON.stringify({ id2label: 3, labels: ['x', 'y'] })}`);
  expect(await namesOf(2, {})).toMatchObject({ names: ['x', 'y'], warnings: [] });
});

test('a sequence recogniser has a blank, and may lack the name of the space', async () => {
  const character = 'a\nb\nc';
  expect(await namesOf(4, { character }, { isSequence: true })).toMatchObject({
    names: ['a', 'b', 'c'],
    blank: 0,
    notes: [],
  });
  const withSpace = await namesOf(5, { character }, { isSequence: true });
  expect(withSpace.names).toEqual(['a', 'b', 'c', 'U+0020']);
  expect(withSpace.notes.join()).toMatch(/the last is the space/);
  const named = await namesOf(4, { character: '<blank>\na\nb\nc' }, { isSequence: true });
  expect(named.names).toEqual(['a', 'b', 'c']);
  expect(named.notes.join()).toMatch(/"<blank>", is left out/);
});

test('a wrong number of names is refused with the flag, and none at all is said', async () => {
  await expect(namesOf(4, { names: '["a", "b"]' })).rejects.toThrow(
    /2 class names, the model 4 classes.*--labels FILE/,
  );
  await expect(namesOf(3, { names: '["a", "b"]' })).rejects.toMatchObject({
    code: 'option-invalid',
    message: expect.stringMatching(/"background" is the first name/),
  });
  const unnamed = await namesOf(3, {});
  expect(unnamed.names).toEqual(['0', '1', '2']);
  expect(unnamed.notes.join()).toMatch(/no class names/);
});

test('numbers before names are left out where they are those of the outputs, with a word', async () => {
  for (const text of ['0 cat\n1 dog', '0: cat\n1: dog\n', '0,cat\n1,dog', '0\tcat\n1\tdog']) {
    const { names, notes } = await namesOf(2, { names: text });
    expect(names).toEqual(['cat', 'dog']);
    expect(notes.join()).toMatch(/number before each name.*is "cat"/);
  }
  const fromOne = await namesOf(2, { names: ' 1 cat\n 2 dog' });
  expect(fromOne.names).toEqual(['cat', 'dog']);
  expect(fromOne.notes.join()).toMatch(/number before each name.*counts from 1,.*is "cat"/);
  expect((await namesOf(2, { names: '2 cat\n3 dog' })).names).toEqual(['2 cat', '3 dog']);
  expect((await namesOf(2, { names: '1 cat\n3 dog' })).names).toEqual(['1 cat', '3 dog']);
  expect((await namesOf(2, { names: '0\n1' })).names).toEqual(['0', '1']);
});

test('names that come twice are told apart', async () => {
  const { names, notes } = await namesOf(3, { names: '["crane", "dog", "crane"]' });
  expect(names).toEqual(['crane', 'dog', 'crane (2)']);
  expect(notes.join()).toMatch(/1 class names come twice, e.g. "crane"/);
});

test('white space around names is left out, unless it is all that tells two apart', async () => {
  const { names, notes } = await namesOf(4, { names: '["cat ", " dog", "cow", "pig\\t"]' });
  expect(names).toEqual(['cat', 'dog', 'cow', 'pig']);
  expect(notes).toEqual(['spaces around 3 class names are left out']);
  const two = await namesOf(4, { names: '["cat ", "cat", "dog ", "dog "]' });
  expect(two.names).toEqual(['U+0063 U+0061 U+0074 U+0020', 'cat', 'dog', 'dog (3)']);
  const unseen = await namesOf(3, { names: '[" ", "a\\n", "b\\u0007 "]' });
  expect(unseen.names).toEqual(['U+0020', 'U+0061 U+000A', 'U+0062 U+0007 U+0020']);
  expect(unseen.notes).toEqual(['3 class names that cannot be seen are written as code points']);
});

test('fewer than two classes are refused with what to export', async () => {
  await expect(namesOf(1, {})).rejects.toThrow(/one output.*two outputs, one for each class/);
  await expect(namesOf(1, { names: '["no", "yes"]' })).rejects.toThrow(/two outputs, one for each class/);
  await expect(namesOf(2, {}, { isSequence: true })).rejects.toThrow(/one class and a blank/);
});

test('indices may count from 1, with a word', async () => {
  for (const text of ['{"dog": 2, "cat": 1}', '{"2": "dog", "1": "cat"}']) {
    const { names, notes } = await namesOf(2, { names: text });
    expect(names).toEqual(['cat', 'dog']);
    expect(notes.join()).toMatch(/\("names"\): its indices count from 1: the first output is "cat"/);
  }
});

test('numbers that alone tell names apart stay, and a mapping from 1 that leaves out an output is none', async () => {
  const coins = await namesOf(2, { names: '["1 Euro", "2 Euro"]' });
  expect(coins.names).toEqual(['1 Euro', '2 Euro']);
  const background = await namesOf(3, { names: '{"1": "cat", "2": "dog"}' });
  expect(background).toMatchObject({ names: ['0', '1', '2'], source: 'none' });
  expect(background.notes.join()).toMatch(/metadata have "names"/);
});

test('of a code and a name, as Keras lists ImageNet, the name is taken, with a word', async () => {
  const labels = join(folder, 'imagenet_class_index.json');
  await writeFile(labels, '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}');
  const { names, notes } = await namesOf(2, {}, { labels });
  expect(names).toEqual(['tench', 'goldfish']);
  expect(notes.join()).toMatch(/second of each two is the name \("tench"\).*"n01440764".*--labels FILE/);
});

test.each([
  ['a mapping, as Ultralytics writes it', 'path: photos\nnc: 2\nnames:\n  0: no # not a boolean\n  1: 1e3\n'],
  ['a list on a line', 'names: [no, 1e3]'],
  ['a list of lines', 'names:\n- no\n- "1e3"\n'],
  ['a list alone', '- no\n- 1e3\n'],
  ['a mapping from name to index', 'no: 0\n1e3: 1\n'],
  ['JSON', '{"names": ["no", "1e3"]}'],
])('YAML: %s', async (_, text) => {
  const labels = join(folder, 'data.yaml');
  await writeFile(labels, text);
  expect(await readNames(labels)).toEqual({ names: ['no', '1e3'], isLines: false, notes: [] });
});

test.each([
  ['no YAML', 'names: [a, b', /not YAML that can be read/],
  ['no names', 'path: photos\nnc: 2\n', /expected class names: a list, or a mapping.*under "names"/],
  ['keys within keys, on which the library hangs', '? '.repeat(100_000), /nested too deeply/],
  ['lists within lists', '['.repeat(100_000), /nested too deeply/],
  ['much', '- a\n'.repeat(300_000), /at most 1,048,576 characters: write the names one a line/],
  [
    'aliases that grow',
    `a0: &a0 [x, x]\n${Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]\n`).join('')}`,
    /not YAML that can be read/,
  ],
])('YAML with %s is refused', async (_, text, message) => {
  const labels = join(folder, 'data.yml');
  await writeFile(labels, text);
  await expect(readNames(labels)).rejects.toThrow(message);
});

test('one line too many may be a header', async () => {
  const labels = join(folder, 'labels.csv');
  await writeFile(labels, 'index,name\n0,cat\n1,dog\n');
  await expect(namesOf(2, {}, { labels })).rejects.toThrow(/if the first line, "index,name", is a header/);
  await expect(namesOf(2, { names: '["a", "b", "c"]' })).rejects.toThrow(
    /one name for each \(--labels FILE\)$/,
  );
});

test('metadata that list names with commas are read where their number fits, and otherwise named', async () => {
  expect((await namesOf(3, { classes: 'cat, dog,cow' })).names).toEqual(['cat', 'dog', 'cow']);
  const { names, notes } = await namesOf(2, { classes: 'cat,dog,cow', labels: '2' });
  expect(names).toEqual(['0', '1']);
  expect(notes.join()).toMatch(/"classes" and "labels", which cannot be read as a list of 2 names/);
});
