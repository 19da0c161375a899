import { create, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProto_DataType, TensorProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { floats, integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import { numberToHalf } from '../../math/half.js';
import { findHead } from './find-head.js';
import { decodeOnnxModel } from './model-file.js';
import { withHead } from './replace-head.js';
import { openSession } from './runtime.js';

const width = 48; // 3 channels of 4 x 4, flattened
const classes = 5;
const images = 3;
const random = createRandom('replace-head');
const draw = (length: number) => Float32Array.from({ length }, () => random.normal());
const [weights, bias] = [draw(width * classes), draw(classes)];
const turned = Float32Array.from(weights, (_, i) => weights[(i % width) * classes + Math.floor(i / width)]);
const other = { weights: draw(width * classes), bias: draw(classes) };
const pixels = draw(images * width);

const flatten = node('Flatten', ['image'], ['features']);
const stored = floats('w', [width, classes], weights);
const storedBias = floats('b', [classes], bias);
const halves = (name: string, dims: readonly number[], values: Float32Array) =>
  create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT16,
    rawData: new Uint8Array(Uint16Array.from(values, numberToHalf).buffer),
  });

type Parts = Omit<Parameters<typeof modelFile>[0], 'outputs'>;
const forms: Readonly<Record<string, Parts>> = {
  'MatMul, Add and a second output': {
    nodes: [
      flatten,
      node('MatMul', ['features', 'w'], ['product']),
      node('Add', ['product', 'b'], ['out']),
      node('Softmax', ['out'], ['probabilities'], { axis: -1 }),
    ],
    initializers: [stored, storedBias],
  },
  'MatMul alone': { nodes: [flatten, node('MatMul', ['features', 'w'], ['out'])], initializers: [stored] },
  'Gemm with transposed weights': {
    nodes: [flatten, node('Gemm', ['features', 'w', 'b'], ['out'], { transB: 1 })],
    initializers: [floats('w', [classes, width], turned), storedBias],
  },
  'a scale, a sum and a change of shape behind it': {
    nodes: [
      flatten,
      node('Transpose', ['w'], ['wt'], { perm: [1, 0] }),
      node('MatMul', ['features', 'wt'], ['product']),
      node('Div', ['product', 'two'], ['scaled']),
      node('Add', ['b', 'scaled'], ['sum']),
      node('Identity', ['sum'], ['same']),
      node('Reshape', ['same', 'shape'], ['out']),
    ],
    initializers: [
      floats('w', [classes, width], turned),
      floats('two', [], Float32Array.of(2)),
      storedBias,
      integers('shape', [2], BigInt64Array.of(-1n, BigInt(classes))),
    ],
  },
  'a convolution of one pixel': {
    nodes: [
      node('Reshape', ['image', 'shape'], ['features']),
      node('Conv', ['features', 'w', 'b'], ['map'], { kernel_shape: [1, 1] }),
      node('Flatten', ['map'], ['out']),
    ],
    initializers: [
      floats('w', [classes, width, 1, 1], turned),
      storedBias,
      integers('shape', [4], BigInt64Array.of(-1n, BigInt(width), 1n, 1n)),
    ],
  },
  'dynamic quantisation': {
    nodes: [
      flatten,
      node('DynamicQuantizeLinear', ['features'], ['xq', 'xs', 'xz']),
      node('MatMulInteger', ['xq', 'q', 'xz', 'zero'], ['integers']),
      node('Cast', ['integers'], ['product'], { to: 1 }),
      node('Mul', ['xs', 'scale'], ['scales']),
      node('Mul', ['product', 'scales'], ['scaled']),
      node('Add', ['scaled', 'b'], ['out']),
    ],
    initializers: [
      integers(
        'q',
        [width, classes],
        Uint8Array.from(weights, (value) => Math.round(value / 0.03) + 128),
      ),
      integers('zero', [], Uint8Array.of(128)),
      floats('scale', [], Float32Array.of(0.03)),
      storedBias,
    ],
  },
  'half precision': {
    nodes: [
      node('Cast', ['image'], ['half image'], { to: 10 }),
      node('Flatten', ['half image'], ['features']),
      node('MatMul', ['features', 'w'], ['product']),
      node('Add', ['product', 'b'], ['half logits']),
      node('Cast', ['half logits'], ['out'], { to: 1 }),
    ],
    initializers: [halves('w', [width, classes], weights), halves('b', [classes], bias)],
  },
};

test.each(Object.entries(forms))('another head takes the place of %s', async (_, parts) => {
  const outputs = parts.nodes.some(({ opType }) => opType === 'Softmax') ? ['out', 'probabilities'] : ['out'];
  const model = decodeOnnxModel('model.onnx', modelFile({ ...parts, outputs, metadata: { kept: 'yes' } }));
  const head = await findHead(model, { logits: 'out' });
  const made = toBinary(ModelProtoSchema, await withHead(model, head, other));
  const written = decodeOnnxModel('model.onnx', made);
  expect(written.graph.output.map(({ name }) => name)).toEqual(outputs);
  expect(written.metadata.get('kept')).toBe('yes');

  const session = await openSession(made, { name: 'model.onnx' });
  const feed = { type: 'float32', data: pixels, shape: [images, 3, 4, 4] } as const;
  const results = await session.run({ image: feed }, outputs);
  session.dispose();
  const found = results.get('out')?.values ?? new Float32Array();
  const isHalf = parts.initializers.some(({ dataType }) => dataType === TensorProto_DataType.FLOAT16);
  const tolerance = isHalf ? 0.05 : 1e-4;
  expect(found).toHaveLength(images * classes);
  for (let row = 0; row < images; row++)
    for (let c = 0; c < classes; c++) {
      let expected = other.bias[c];
      for (let feature = 0; feature < width; feature++)
        expected += pixels[row * width + feature] * other.weights[feature * classes + c];
      expect(Math.abs(found[row * classes + c] - expected)).toBeLessThan(tolerance);
    }
  const again = await findHead(written, { logits: 'out' });
  for (const [at, value] of other.weights.entries())
    expect(Math.abs(again.weights[at] - value)).toBeLessThan(tolerance / 10);
  // Nothing of the old head is left, and nothing else is gone.
  const names = new Set(written.graph.initializer.map(({ name }) => name));
  for (const gone of ['w', 'b', 'q', 'zero', 'scale', 'two']) expect(names.has(gone)).toBe(false);
  expect(names.has('shape')).toBe(parts.initializers.some(({ name }) => name === 'shape'));
});

test('a change of shape between the product and its bias is refused', async () => {
  const nodes = [
    flatten,
    node('MatMul', ['features', 'w'], ['product']),
    node('Reshape', ['product', 'shape'], ['turned']),
    node('Add', ['turned', 'b'], ['out']),
  ];
  const shape = integers('shape', [3], BigInt64Array.of(-1n, 1n, BigInt(classes)));
  const model = decodeOnnxModel(
    'model.onnx',
    modelFile({ nodes, initializers: [stored, storedBias, shape], outputs: ['out'] }),
  );
  await expect(withHead(model, await findHead(model), other)).rejects.toMatchObject({
    code: 'option-invalid',
    message: expect.stringContaining('in another shape'),
  });
});
