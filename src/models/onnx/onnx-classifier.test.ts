import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TensorProto_DataType } from 'onnx-buf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { floats, integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import type { ImageShape } from '../../data/source.js';
import { softmax } from '../../math/softmax.js';
import { type OnnxClassifierOptions, openOnnxClassifier } from './onnx-classifier.js';

const [height, width, channels, classes] = [4, 5, 3, 6];
const given: ImageShape = { height, width, channels: 3 };
const size = height * width * channels;
const random = createRandom('onnx');
const weights = Float32Array.from({ length: size * classes }, () => random.normal());
const images = Float32Array.from({ length: 3 * size }, () => random.uniform());

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-onnx-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

type Ending = 'logits' | 'softmax' | 'log-softmax' | 'sigmoid' | '8-bit softmax' | 'written out';

/** `ending(flatten(image) weights)` */
function linear(
  input: readonly (number | string)[],
  ending: Ending = 'logits',
  inputType?: TensorProto_DataType,
) {
  const initializers = [floats('weights', [size, classes], weights)];
  const nodes = [
    ...(inputType === undefined
      ? []
      : [node('Cast', ['image'], ['cast'], { to: TensorProto_DataType.FLOAT })]),
    node('Flatten', [inputType === undefined ? 'image' : 'cast'], ['flat']),
    node('MatMul', ['flat', 'weights'], ['logits']),
  ];
  const operator = {
    softmax: 'Softmax',
    'log-softmax': 'LogSoftmax',
    sigmoid: 'Sigmoid',
    '8-bit softmax': 'Softmax',
    'written out': 'Exp',
  };
  if (ending !== 'logits') nodes.push(node(operator[ending], ['logits'], ['end']));
  let output = ending === 'logits' ? 'logits' : 'end';
  if (ending === 'written out') {
    nodes.push(node('ReduceL1', ['end'], ['sum'], { axes: [1] }), node('Div', ['end', 'sum'], ['share']));
    output = 'share';
  }
  if (ending === '8-bit softmax') {
    nodes.push(node('QuantizeLinear', ['end', 'scale', 'zero'], ['bytes']));
    nodes.push(node('DequantizeLinear', ['bytes', 'scale', 'zero'], ['rounded']));
    initializers.push(floats('scale', [], Float32Array.of(1 / 256)), integers('zero', [], Uint8Array.of(0)));
    output = 'rounded';
  }
  return modelFile({
    input,
    nodes,
    initializers,
    outputs: [output],
    ...(inputType !== undefined && { inputType }),
  });
}

async function open(model: Uint8Array, options: OnnxClassifierOptions = {}) {
  const path = join(folder, 'model.onnx');
  await writeFile(path, model);
  return openOnnxClassifier(path, { given, ...options });
}

/** What the model predicts for each image, of which it sees the values in the given order. */
function expected(order: (position: number) => number): Float64Array[] {
  return [0, 1, 2].map((row) => {
    const logits = new Float64Array(classes);
    for (let position = 0; position < size; position++)
      for (let label = 0; label < classes; label++)
        logits[label] += images[row * size + order(position)] * weights[position * classes + label];
    return softmax(logits);
  });
}

const channelsLast = (position: number) => position;
/** Where the value of (channel, pixel) stands among (pixel, channel). */
const channelsFirst = (position: number) => (position % 20) * 3 + Math.floor(position / 20);

async function expectPredictions(
  model: Uint8Array,
  order: (position: number) => number,
  { digits = 4, ...options }: OnnxClassifierOptions & { readonly digits?: number } = {},
) {
  const notes: string[] = [];
  const classifier = await open(model, { note: (text) => notes.push(text), ...options });
  const found = await classifier.probabilities({ images, count: 3 });
  for (const [row, probabilities] of expected(order).entries()) {
    probabilities.forEach((value, label) => {
      expect(found[row * classes + label]).toBeCloseTo(value, digits);
    });
  }
  classifier.dispose();
  await expect(classifier.logits({ images, count: 3 })).rejects.toMatchObject({ code: 'disposed' });
  return notes;
}

describe('an ONNX model is a classifier', () => {
  test('of logits, channels last', () =>
    expectPredictions(linear(['n', height, width, channels]), channelsLast));
  test('of probabilities, channels first', () =>
    expectPredictions(linear(['n', channels, height, width], 'softmax'), channelsFirst));
  test('of log-probabilities', () =>
    expectPredictions(linear(['n', channels, height, width], 'log-softmax'), channelsFirst));
  test('of flat images', () => expectPredictions(linear(['n', size]), channelsLast));
  test('of one image at a time, declared', () =>
    expectPredictions(linear([1, channels, height, width], 'softmax'), channelsFirst));
  test('of two images at a time: black ones fill the last batch', () =>
    expectPredictions(linear([2, channels, height, width]), channelsFirst));

  test('of images in double precision, and in half', async () => {
    await expectPredictions(
      linear(['n', channels, height, width], 'logits', TensorProto_DataType.DOUBLE),
      channelsFirst,
    );
    await expectPredictions(
      linear(['n', channels, height, width], 'logits', TensorProto_DataType.FLOAT16),
      channelsFirst,
      {
        digits: 1,
      },
    );
  });

  test('of probabilities that other operators than a softmax make: numbers tell, and that is said', async () => {
    const model = linear(['n', channels, height, width], 'written out');
    const notes = await expectPredictions(model, channelsFirst);
    expect(notes.join()).toMatch(/taken as probabilities/);
  });

  test('of independent scores: their logits count, and that is said', async () => {
    const notes = await expectPredictions(linear(['n', channels, height, width], 'sigmoid'), channelsFirst, {
      digits: 2,
    });
    expect(notes.join()).toMatch(/independent/);
  });

  test('of probabilities that were rounded to 8 bits, whose rows do not sum to 1', async () => {
    const classifier = await open(linear(['n', channels, height, width], '8-bit softmax'));
    const logits = await classifier.logits({ images, count: 3 });
    for (const [row, probabilities] of expected(channelsFirst).entries()) {
      probabilities.forEach((value, label) => {
        if (value > 0.01) expect(Math.exp(logits[row * classes + label])).toBeCloseTo(value, 2);
      });
    }
    classifier.dispose();
  });

  test('with every axis free: channels first, and that is said; a flag decides otherwise', async () => {
    const free = linear(['n', 'c', 'h', 'w']);
    const notes = await expectPredictions(free, channelsFirst);
    expect(notes.join()).toMatch(/does not say where its channels are: taken as first/);
    await expectPredictions(free, channelsLast, { layout: 'channels-last' });
  });
});

test('of several outputs that of the last layer is taken, and that is said', async () => {
  const parts = {
    input: ['n', size],
    nodes: [
      node('MatMul', ['image', 'in'], ['before']),
      node('Relu', ['before'], ['hidden']),
      node('MatMul', ['hidden', 'weights'], ['logits']),
    ],
    initializers: [
      floats('in', [size, 2], weights.subarray(0, 2 * size)),
      floats('weights', [2, classes], weights.subarray(0, 2 * classes)),
    ],
  };
  const alone = await open(modelFile({ ...parts, outputs: ['logits'] }));
  const expectedValues = await alone.probabilities({ images, count: 3 });
  alone.dispose();
  const notes: string[] = [];
  const both = modelFile({ ...parts, outputs: ['hidden', 'logits'] });
  const classifier = await open(both, { note: (text) => notes.push(text) });
  expect(await classifier.probabilities({ images, count: 3 })).toEqual(expectedValues);
  expect(notes).toContainEqual(expect.stringMatching(/"logits" is taken, which its last layer makes/));
  classifier.dispose();
});

test('of several last layers one is taken, and that there are others is said', async () => {
  const notes: string[] = [];
  const bytes = modelFile({
    input: ['n', size],
    nodes: [
      node('MatMul', ['image', 'other'], ['aux']),
      node('MatMul', ['image', 'weights'], ['logits']),
      node('Softmax', ['logits'], ['out']),
    ],
    initializers: [
      floats('other', [size, classes], weights.toReversed()),
      floats('weights', [size, classes], weights),
    ],
    outputs: ['aux', 'logits', 'out'],
  });
  const classifier = await open(bytes, { note: (text) => notes.push(text) });
  classifier.dispose();
  expect(notes).toContainEqual(
    expect.stringMatching(/"out" is taken, one of several last layers: .*export the model with that alone/),
  );
});

test('an image of which a model makes no numbers takes no batch from those that come later', async () => {
  // Its logits are multiplied by the number of images in the batch, which so can be seen.
  const model = modelFile({
    input: ['n', size],
    nodes: [
      node('MatMul', ['image', 'weights'], ['product']),
      node('Shape', ['image'], ['shape']),
      node('Gather', ['shape', 'zero'], ['count']),
      node('Cast', ['count'], ['times'], { to: TensorProto_DataType.FLOAT }),
      // The runtime itself refuses an image with a value of 2 or more.
      node('ReduceMax', ['image'], ['greatest'], { axes: [1], keepdims: 1 }),
      node('Cast', ['greatest'], ['place'], { to: TensorProto_DataType.INT64 }),
      node('Gather', ['table', 'place'], ['nothing']),
      node('Mul', ['product', 'times'], ['scaled']),
      node('Add', ['scaled', 'nothing'], ['logits']),
    ],
    initializers: [
      floats('weights', [size, classes], weights),
      floats('table', [2], new Float32Array(2)),
      integers('zero', [], BigInt64Array.of(0n)),
    ],
    outputs: ['logits'],
  });
  const classifier = await open(model);
  const before = await classifier.probabilities({ images, count: 3 });
  const bad = images.slice();
  for (const [value, row, reason] of [
    [Number.NaN, 0, /finite/],
    [5, 0, /./],
    [5, 1, /./],
  ] as const) {
    bad.set(images);
    bad.fill(value, row * size, (row + 1) * size);
    await expect(classifier.probabilities({ images: bad, count: 3 })).rejects.toThrow(reason);
    expect(await classifier.probabilities({ images, count: 3 })).toEqual(before);
  }
  classifier.dispose();
});

test('class names are its own; without any, those of the data set, which is said', async () => {
  const own = await open(
    modelFile({
      input: ['n', size],
      nodes: [node('MatMul', ['image', 'weights'], ['out'])],
      initializers: [floats('weights', [size, classes], weights)],
      outputs: ['out'],
      metadata: { names: '["a","b","c","d","e","f"]' },
    }),
  );
  expect(own.classes).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  own.dispose();
  const notes: string[] = [];
  const names = ['u', 'v', 'w', 'x', 'y', 'z'];
  const other = await open(linear(['n', size]), { fallbackClasses: names, note: (text) => notes.push(text) });
  expect(other.classes).toEqual(names);
  expect(notes.join()).toMatch(/no class names: its outputs are taken to be in the order of the data set/);
  other.dispose();
});

test('what is no model, and what is none of images, is refused', async () => {
  await expect(open(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({ code: 'checkpoint-invalid' });
  await expect(open(linear(['n', 7]), { given: { ...given, channels: 1 } })).rejects.toThrow(/2 axes/);
  await expect(openOnnxClassifier(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'not-found' });
});
