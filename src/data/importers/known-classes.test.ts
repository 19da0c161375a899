import { expect, test } from 'vitest';
import type { DatasetSource } from '../source.js';
import { matchClasses, withKnownClasses } from './known-classes.js';

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
  const known = withKnownClasses(source, ['ash', 'b\u00e9', 'oak'], '/home/somebody/secret/trees.onnx');
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
  expect(matchClasses([' oak', 'ash '], ['ash', 'oak'], 'trees.onnx').labelOf).toEqual([1, 0]);
  const both = ['ash', 'U+0061 U+0073 U+0068 U+0020'];
  expect(matchClasses(['ash ', 'ash'], both, 'trees.onnx').labelOf).toEqual([1, 0]);
});

test('classes without a match are shown, and no empty name beside them', () => {
  expect(() => matchClasses(['oak', 'fir'], ['0'], 'trees.onnx')).toThrow(
    /the images \("oak", ...\) is a class of trees.onnx \("0"\): name/,
  );
  expect(() => matchClasses(['oak'], ['a', 'b', 'c'], 'trees.onnx')).toThrow(
    /\("oak"\) is a class of trees.onnx \("a", "b", ...\)/,
  );
});
