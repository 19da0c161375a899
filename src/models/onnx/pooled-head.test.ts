import type { NodeProto, TensorProto } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import { bias, classes } from '../../../test/support/onnx-heads.js';
import { floats, integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import { findHead, withFeatures } from './find-head.js';
import { decodeOnnxModel } from './model-file.js';
import { openSession } from './runtime.js';

const random = createRandom('pooled-head');
const channels = 3;
const images = 2;
const pixels = Float32Array.from({ length: images * channels * 16 }, () => random.normal());
const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal());
const stored = [
  floats('w', [classes, channels, 1, 1], normals(classes * channels)),
  floats('v', [classes, channels, 1, 1], normals(classes * channels)),
  floats('wide', [classes, channels, 3, 3], normals(classes * channels * 9)),
  floats('matrix', [channels, classes], normals(classes * channels)),
  floats('other', [channels, classes], normals(classes * channels)),
  floats('b', [classes], bias),
  floats('scale', [classes, 1, 1], normals(classes)),
  floats('scales', [1, classes, 1, 1], normals(classes)),
  floats('images', [classes, 1, 1, 1], normals(classes)),
  floats('half', [], Float32Array.of(0.5)),
  floats('column', [channels, 1], normals(channels)),
  floats('mask', [4, 4], new Float32Array(16).fill(1)),
  integers('axes', [2], BigInt64Array.of(2n, -1n)),
  integers('places', [3], BigInt64Array.of(0n, BigInt(channels), -1n)),
];

const convolution = (attributes: Parameters<typeof node>[3] = {}) =>
  node('Conv', ['image', 'w', 'b'], ['map'], { kernel_shape: [1, 1], ...attributes });
const mean = node('GlobalAveragePool', ['map'], ['pooled']);
const flat = node('Flatten', ['pooled'], ['out']);

const read = (nodes: readonly NodeProto[], opset = 17, initializers: readonly TensorProto[] = stored) =>
  decodeOnnxModel('model.onnx', modelFile({ nodes, initializers, outputs: ['out'], opset }));

/** The largest difference between what a model predicts and what its head makes of its features. */
async function differenceOf(nodes: readonly NodeProto[], opset = 17): Promise<number> {
  const model = await withFeatures(read(nodes, opset));
  expect(await withFeatures(model)).toBe(model);
  const { features, weights, bias, width } = await findHead(model);
  const outputs = ['out', features];
  const bytes = modelFile({ nodes: model.graph.node, initializers: model.graph.initializer, outputs, opset });
  const session = await openSession(bytes, { name: 'model' });
  const feeds = { image: { type: 'float32' as const, data: pixels, shape: [images, channels, 4, 4] } };
  const results = await session.run(feeds, outputs);
  session.dispose();
  const [own, taken] = outputs.map((name) => results.get(name)?.values ?? new Float32Array());
  expect(taken).toHaveLength(images * width);
  expect(own).toHaveLength(images * classes);
  let most = 0;
  for (let image = 0; image < images; image++) {
    for (let c = 0; c < classes; c++) {
      let logit = bias[c];
      for (let i = 0; i < width; i++) logit += taken[image * width + i] * weights[i * classes + c];
      most = Math.max(most, Math.abs(logit - own[image * classes + c]));
    }
  }
  return most;
}

const inPlaces = [
  node('Reshape', ['image', 'places'], ['rows']),
  node('Transpose', ['rows'], ['features'], { perm: [0, 2, 1] }),
];
const same = node('MatMul', ['features', 'matrix'], ['one']);
const flattened = node('ReduceMean', ['image'], ['features'], { axes: [2, 3], keepdims: 0 });

describe('features and head make what the model predicts,', () => {
  test.each<readonly [string, readonly NodeProto[]]>([
    ['averaged over a convolution', [convolution(), mean, flat]],
    [
      'behind a Dropout, scaled for each class',
      [
        node('Dropout', ['image'], ['kept']),
        node('Conv', ['kept', 'w', 'b'], ['conv'], { kernel_shape: [1, 1] }),
        node('Mul', ['conv', 'scale'], ['scaled']),
        node('Sub', ['scaled', 'scales'], ['less']),
        node('Div', ['less', 'half'], ['map']),
        mean,
        flat,
      ],
    ],
    [
      'by ReduceMean, whose axes are gone',
      [convolution(), node('ReduceMean', ['map'], ['out'], { axes: [2, 3], keepdims: 0 })],
    ],
    [
      'by a pool of all places, whose border does not count',
      [
        convolution(),
        node('AveragePool', ['map'], ['pooled'], { kernel_shape: [6, 6], pads: [1, 1, 1, 1] }),
        flat,
      ],
    ],
    [
      'averaged over the places of a product of matrices',
      [
        ...inPlaces,
        same,
        node('Add', ['b', 'one'], ['moved']),
        node('ReduceMean', ['moved'], ['out'], { axes: [1], keepdims: 0 }),
      ],
    ],
    [
      'the sum of two means over the same places',
      [
        convolution(),
        node('Conv', ['image', 'v'], ['second map'], { kernel_shape: [1, 1] }),
        node('AveragePool', ['map'], ['one'], { kernel_shape: [4, 4] }),
        node('AveragePool', ['second map'], ['two'], { kernel_shape: [4, 4] }),
        node('Add', ['one', 'two'], ['pooled']),
        flat,
      ],
    ],
    [
      'a sum of a sum and a difference, each with its own bias and scale',
      [
        flattened,
        same,
        node('Gemm', ['features', 'other', 'b'], ['two']),
        node('MatMul', ['features', 'other'], ['three']),
        node('Add', ['one', 'two'], ['sum']),
        node('Div', ['sum', 'half'], ['double']),
        node('Sub', ['three', 'double'], ['difference']),
        node('Add', ['difference', 'one'], ['more']),
        node('Add', ['b', 'more'], ['out']),
      ],
    ],
    ['a Sum with constants', [flattened, same, node('Sum', ['b', 'one', 'half'], ['out'])]],
    [
      'half the sum of two products',
      [
        flattened,
        same,
        node('Gemm', ['features', 'other', 'b'], ['two']),
        node('Add', ['one', 'two'], ['sum']),
        node('Mul', ['sum', 'half'], ['out']),
      ],
    ],
    [
      'the mean of three, one of them scaled',
      [
        flattened,
        same,
        node('Gemm', ['features', 'other', 'b'], ['two']),
        node('Div', ['two', 'half'], ['double']),
        node('MatMul', ['features', 'other'], ['three']),
        node('Mean', ['one', 'double', 'three'], ['out']),
      ],
    ],
    [
      'the difference of two',
      [
        flattened,
        node('Dropout', ['features'], ['kept']),
        same,
        node('Gemm', ['kept', 'other', 'b'], ['two']),
        node('Sub', ['one', 'two'], ['out']),
      ],
    ],
  ])('%s', async (_, nodes) => {
    expect(await differenceOf(nodes)).toBeLessThan(1e-5);
  });

  test('by ReduceMean of set 18, whose axes are an input', async () => {
    const nodes = [convolution(), node('ReduceMean', ['map', 'axes'], ['pooled']), flat];
    expect(await differenceOf(nodes, 18)).toBeLessThan(1e-5);
  });
});

describe('a plain head counts, whatever stands beside it:', () => {
  const plain = [flattened, node('Gemm', ['features', 'other', 'b'], ['out'])];
  test.each<readonly [string, readonly NodeProto[]]>([
    [
      'a sum of products of one class and of several',
      [...plain, node('MatMul', ['features', 'column'], ['value']), node('Add', ['value', 'out'], ['aux'])],
    ],
    [
      'a mean of masked places',
      [
        ...plain,
        convolution(),
        node('Mul', ['map', 'mask'], ['masked']),
        node('ReduceMean', ['masked'], ['aux'], { axes: [2, 3], keepdims: 0 }),
      ],
    ],
  ])('%s', async (_, nodes) => {
    const model = decodeOnnxModel(
      'model.onnx',
      modelFile({ nodes, initializers: stored, outputs: ['out', 'aux'] }),
    );
    const made = await withFeatures(model);
    expect(made).toBe(model);
    expect(await findHead(made)).toMatchObject({ output: 'out', features: 'features', classes });
  });

  test('with a name for what stands aside, which is refused where it is a classifier as well', async () => {
    const headOf = (nodes: readonly NodeProto[], hints = {}) => {
      const outputs = ['aux', 'out'];
      const bytes = modelFile({ nodes: [...plain, ...nodes], initializers: stored, outputs });
      return findHead(decodeOnnxModel('model.onnx', bytes), hints);
    };
    const value = node('MatMul', ['features', 'column'], ['value']);
    const embedding = [value, node('Add', ['value', 'out'], ['aux'])];
    expect(await headOf(embedding)).toMatchObject({ output: 'out', aside: ['aux'] });
    const pooled = [convolution(), mean];
    const logits = node('Flatten', ['pooled'], ['aux']);
    const softmax = [node('Flatten', ['pooled'], ['logits']), node('Softmax', ['logits'], ['aux'])];
    for (const nodes of [
      [...pooled, logits],
      [...pooled, ...softmax],
    ]) {
      await expect(headOf(nodes)).rejects.toThrow(/"out" of 5 classes, "aux" of 5 classes\): say which/);
      expect(await headOf(nodes, { logits: 'out' })).toMatchObject({ output: 'out', aside: [] });
    }
    expect(await headOf([...pooled, logits], { features: 'features' })).toMatchObject({ output: 'out' });
  });
});

describe('refused is', () => {
  test.each<readonly [string, readonly NodeProto[], RegExp]>([
    [
      'a Relu between product and mean, without a flag that cannot help',
      [convolution(), node('Relu', ['map'], ['positive']), node('GlobalAveragePool', ['positive'], ['out'])],
      /the Relu stands between the product of each place and the mean of the places(?!.*--logits).*--source features\.npz/,
    ],
    ['a border', [convolution({ pads: [1, 1, 1, 1] }), mean, flat], /adds a border/],
    ['a step over places', [convolution({ strides: [2, 2] }), mean, flat], /leaves out places/],
    [
      'a border that counts',
      [
        convolution(),
        node('AveragePool', ['map'], ['pooled'], {
          kernel_shape: [6, 6],
          pads: [1, 1, 1, 1],
          count_include_pad: 1,
        }),
        flat,
      ],
      /counts a border/,
    ],
    [
      'a constant of as many columns of the image as there are classes',
      [convolution(), node('Add', ['map', 'b'], ['moved']), node('GlobalAveragePool', ['moved'], ['out'])],
      /constant "b" before the mean/,
    ],
    [
      'a constant of as many images as there are classes',
      [
        convolution(),
        node('Mul', ['map', 'images'], ['moved']),
        node('GlobalAveragePool', ['moved'], ['out']),
      ],
      /constant "images" before the mean/,
    ],
    [
      'a constant of each place of a product of matrices',
      [
        ...inPlaces,
        same,
        node('Add', ['one', 'scale'], ['moved']),
        node('ReduceMean', ['moved'], ['out'], { axes: [1], keepdims: 0 }),
      ],
      /constant "scale" before the mean/,
    ],
    [
      'a sum of means over other places',
      [
        convolution(),
        node('Conv', ['image', 'v'], ['second map'], { kernel_shape: [1, 1] }),
        node('AveragePool', ['map'], ['one'], { kernel_shape: [4, 4] }),
        node('AveragePool', ['second map'], ['two'], { kernel_shape: [1, 1], strides: [4, 4] }),
        node('Add', ['one', 'two'], ['pooled']),
        flat,
      ],
      /mixes two values/,
    ],
    [
      'a mean over the classes of whole images',
      [
        node('Flatten', ['image'], ['features']),
        same,
        node('ReduceMean', ['one'], ['out'], { axes: [1], keepdims: 1 }),
      ],
      /no mean over the places/,
    ],
    [
      'a mean over images',
      [...inPlaces, same, node('ReduceMean', ['one'], ['out'], { axes: [-3], keepdims: 0 })],
      /no mean over the places/,
    ],
    [
      'a mean of a product whose number of axes is not known',
      [
        node('NonZero', ['image'], ['some']),
        node('Expand', ['image', 'some'], ['features']),
        same,
        node('ReduceMean', ['one'], ['out'], { axes: [1], keepdims: 0 }),
      ],
      /not known.*infer_shapes/,
    ],
    [
      'a window',
      [node('Conv', ['image', 'wide'], ['map'], { kernel_shape: [3, 3] }), mean, flat],
      /no product of each place by itself/,
    ],
    [
      'a mean over classes',
      [...inPlaces, same, node('ReduceMean', ['one'], ['out'], { axes: [2] })],
      /no mean over the places/,
    ],
    [
      'a sum of products of one class and of several',
      [
        flattened,
        same,
        node('MatMul', ['features', 'column'], ['value']),
        node('Add', ['value', 'one'], ['out']),
      ],
      /from "out": the MatMul of 1 classes is added to the MatMul of 5.*--logits/,
    ],
    [
      'a mean with a constant',
      [flattened, same, node('Mean', ['one', 'b'], ['out'])],
      /a Mean of a constant and a value is not read/,
    ],
    [
      'a constant that is divided',
      [flattened, same, node('Div', ['b', 'one'], ['out'])],
      /a Div of a constant and a value is not read/,
    ],
    [
      'a sum within a sum, of different features',
      [
        flattened,
        same,
        node('Relu', ['features'], ['positive']),
        node('MatMul', ['positive', 'other'], ['two']),
        node('Add', ['one', 'two'], ['sum']),
        node('Add', ['sum', 'one'], ['out']),
      ],
      /mixes two values/,
    ],
    [
      'a sum of products of different features',
      [
        flattened,
        same,
        node('Relu', ['features'], ['positive']),
        node('MatMul', ['positive', 'other'], ['two']),
        node('Add', ['one', 'two'], ['out']),
      ],
      /mixes two values/,
    ],
  ])('%s', async (_, nodes, message) => {
    await expect(withFeatures(read(nodes)).then((model) => findHead(model))).rejects.toThrow(message);
  });
});
