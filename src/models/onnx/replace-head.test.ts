import { create, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProto_DataType, TensorProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import {
  bias,
  classes,
  convolution,
  flatten,
  gemm,
  quantised,
  scaled,
  stored,
  storedBias,
  weights,
  width,
} from '../../../test/support/onnx-heads.js';
import { integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import { numberToHalf } from '../../math/half.js';
import { findHead } from './find-head.js';
import { decodeOnnxModel } from './model-file.js';
import { withHead } from './replace-head.js';
import { openSession } from './runtime.js';

const images = 3;
const random = createRandom('replace-head');
const draw = (length: number) => Float32Array.from({ length }, () => random.normal());
const other = { weights: draw(width * classes), bias: draw(classes) };
const pixels = draw(images * width);

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
  'Gemm with transposed weights': gemm,
  'a scale, a sum and a change of shape behind it': scaled,
  'a convolution of one pixel': convolution,
  'dynamic quantisation': quantised,
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

test.each(Object.entries(forms))(
  'a head with hidden units takes the place of %s, and again of itself',
  async (_, parts) => {
    const model = decodeOnnxModel('model.onnx', modelFile({ ...parts, outputs: ['out'], metadata: {} }));
    const isHalf = parts.initializers.some(({ dataType }) => dataType === TensorProto_DataType.FLOAT16);
    const tolerance = isHalf ? 0.15 : 1e-4;
    const units = 4;
    /** What a head makes of features, its hidden units joined to these. */
    const widened = (features: readonly number[], hidden: { weights: Float32Array; bias: Float32Array }) => [
      ...features,
      ...Array.from(hidden.bias, (offset, unit) =>
        Math.max(
          0,
          features.reduce(
            (sum, value, feature) => sum + value * hidden.weights[feature * units + unit],
            offset,
          ),
        ),
      ),
    ];
    let [last, inputs] = [
      model,
      Array.from({ length: images }, (_, row) => [...pixels.subarray(row * width, (row + 1) * width)]),
    ];
    for (const time of [1, 2]) {
      const head = await findHead(last, { logits: 'out' });
      expect(head.width).toBe(width + (time - 1) * units);
      const hidden = { weights: draw(head.width * units), bias: draw(units) };
      const layer = { weights: draw((head.width + units) * classes), bias: draw(classes), hidden };
      const made = toBinary(ModelProtoSchema, await withHead(last, head, layer));
      last = decodeOnnxModel('model.onnx', made);
      inputs = inputs.map((features) => widened(features, hidden));
      const session = await openSession(made, { name: 'model.onnx' });
      const feed = { type: 'float32', data: pixels, shape: [images, 3, 4, 4] } as const;
      const found = (await session.run({ image: feed }, ['out'])).get('out')?.values ?? new Float32Array();
      session.dispose();
      for (const [row, features] of inputs.entries())
        for (let c = 0; c < classes; c++) {
          const expected = features.reduce(
            (sum, value, feature) => sum + value * layer.weights[feature * classes + c],
            layer.bias[c],
          );
          expect(Math.abs(found[row * classes + c] - expected)).toBeLessThan(
            tolerance * (1 + Math.abs(expected)),
          );
        }
    }
  },
);

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
