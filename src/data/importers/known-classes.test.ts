import { expect, test } from 'vitest';
import type { DatasetSource } from '../source.js';
import { indexNames, matchClasses, withKnownClasses, withNames } from './known-classes.js';

const trees = { model: 'trees.onnx', kind: 'image-folder' };

test('images get the classes of a model by name; those that it does not know are left out; no path is published', async () => {
  const source: DatasetSource = {
    description: 'Images of the folder photos',
    classes: ['oak', 'be\u0301', 'fir'],
    image: { height: 1, width: 1, channels: 1 },
    augmentation: { kind: 'none' },
    count: () => 3,
    async *images() {
      for (const label of [0, 1, 2]) yield { pixels: Uint8Array.of(label), label };
    },
  };
  const known = withKnownClasses(source, ['ash', 'b\u00e9', 'oak'], {
    model: '/home/somebody/secret/trees.onnx',
    kind: 'image-folder',
  });
  const labels = [];
  for await (const { pixels, label } of known.images('train')) labels.push([pixels[0], label]);
  expect(labels).toEqual([
    [0, 2],
    [1, 1],
  ]);
  expect(known.report?.().leftOut).toMatchObject([{ count: 1, example: 'fir' }]);
  expect(known.description).toBe('Images of the folder photos, with the 3 classes of trees.onnx');
});

test('white space around the name of a folder keeps it from no class, unless another class has it, too', () => {
  expect(matchClasses([' oak', 'ash '], ['ash', 'oak'], trees).labelOf).toEqual([1, 0]);
  const both = ['ash', 'U+0061 U+0073 U+0068 U+0020'];
  expect(matchClasses(['ash ', 'ash'], both, trees).labelOf).toEqual([1, 0]);
});

test('classes without a match are shown, and no empty name beside them', () => {
  expect(() => matchClasses(['oak', 'fir'], ['0'], trees)).toThrow(
    /the images \("oak", ...\) is a class of trees.onnx \("0"\): name/,
  );
  expect(() => matchClasses(['oak'], ['a', 'b', 'c'], trees)).toThrow(
    /\("oak"\) is a class of trees.onnx \("a", "b", ...\)/,
  );
});

test('numbers are the indices of a model without class names, and count from 1 where only that is possible', () => {
  const model = ['0', '1', '2', '3'];
  const named = (own: readonly string[], classes = model) => own.map(indexNames(own, classes).nameOf);
  expect(named(['0', '1', '2', '3'])).toEqual(['0', '1', '2', '3']);
  expect(named(['1', '2', '3', '4'])).toEqual(['0', '1', '2', '3']);
  expect(named(['04', 'other', '02'])).toEqual(['3', 'other', '1']);
  expect(named(['00', '03'])).toEqual(['0', '3']);
  expect(named(['1', '2'])).toEqual(['1', '2']); // either is possible
  expect(named(['1', '4', '5'])).toEqual(['1', '4', '5']); // neither is
  expect(named(['1', '2'], ['ash', 'oak'])).toEqual(['1', '2']);
  expect(indexNames(['0', '1'], model).finding).toBeUndefined();
  expect(indexNames(['1', '4'], model).finding).toMatchObject({ count: 2, example: '1', isWarning: true });
});

test('a source with other names holds the same images and says why', () => {
  const source: DatasetSource = {
    description: 'photos',
    classes: ['1', '2'],
    image: { height: 1, width: 1, channels: 1 },
    augmentation: { kind: 'none' },
    count: () => 3,
    async *images() {},
  };
  const renamed = withNames(source, indexNames(source.classes, ['0', '1']));
  expect(renamed.classes).toEqual(['0', '1']);
  expect(renamed.count('train')).toBe(3);
  expect(renamed.report?.().notes).toMatchObject([
    { what: expect.stringMatching(/count from 1, as 2 occurs/) },
  ]);
});

test('the advice on numbers that are no names fits what the images are', () => {
  const adviceOf = (kind: string, own = ['0', '1']) => {
    try {
      matchClasses(own, ['ash', 'oak'], { model: 'trees.onnx', kind });
    } catch (error) {
      return String(error);
    }
    return '';
  };
  for (const kind of ['parquet', 'web-dataset', 'image-table'])
    expect(adviceOf(kind)).toMatch(/labels are numbers: give their names with --class-names FILE/);
  expect(adviceOf('image-folder')).toMatch(/name the folders.* --labels FILE with 0 to 1, one a line$/);
  expect(adviceOf('hugging-face')).toMatch(/ClassLabel.* --labels FILE with 0 to 1, one a line$/);
  expect(adviceOf('parquet', ['fir'])).toMatch(/write the labels as the model names its classes/);
});
