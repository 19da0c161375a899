import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { modelFile, node } from '../../../test/support/onnx-models.js';
import { findClassNames, parseNames } from './class-names.js';
import { readOnnxModel } from './model-file.js';

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
  expect(parseNames(text)).toEqual(['cat', 'dog', 'cow']);
});

test('a quote in a Python name, and names that are spaces', () => {
  expect(parseNames("{0: \"dog's bed\", 1: 'it\\'s'}")).toEqual(["dog's bed", "it's"]);
  expect(parseNames(' \na\n')).toEqual([' ', 'a']);
});

test('a mapping with a gap, or of something else, is no list of names', () => {
  expect(parseNames('{"0": "cat", "2": "cow"}')).toBeUndefined();
  expect(parseNames('{"a": "b"}')).toBeUndefined();
  expect(parseNames('[1, 2]')).toBeUndefined();
  expect(parseNames('{"cat": 0, "cow": 2}')).toBeUndefined();
  expect(parseNames('{\n"0": ["n01", "cat"],\n"1": ["n02", "dog"]\n}')).toBeUndefined(); // and no five lines
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
  await expect(namesOf(3, { names: '["a", "b"]' })).rejects.toThrow(/"background" is the first name/);
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
  expect((await namesOf(2, { names: '1 cat\n2 dog' })).names).toEqual(['1 cat', '2 dog']);
  expect((await namesOf(2, { names: '0\n1' })).names).toEqual(['0', '1']);
});

test('names that come twice are told apart', async () => {
  const { names, notes } = await namesOf(3, { names: '["crane", "dog", "crane"]' });
  expect(names).toEqual(['crane', 'dog', 'crane (2)']);
  expect(notes.join()).toMatch(/1 class names come twice, e.g. "crane"/);
});
