import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema, TensorProto_DataType } from 'onnx-buf';
import { expect, test } from 'vitest';
import { halfToNumber } from '../../math/half.js';
import { createGraphWriter } from './graph-writer.js';
import { storeWeights, type WeightPrecision } from './stored-weights.js';

/** The types of what is stored of weights of two outputs, and its bytes. */
function stored(values: readonly number[], precision: WeightPrecision) {
  const graph = create(GraphProtoSchema, { name: 'weights' });
  const writer = createGraphWriter(graph, 17, { prefix: 'a_' });
  storeWeights(writer, Float32Array.from(values), [values.length / 2, 2], precision, { outputs: 1 }).whole();
  return graph.initializer.map(({ dataType, rawData }) => ({
    type: TensorProto_DataType[dataType],
    rawData,
  }));
}

test.each([65_505, -1e6, Number.POSITIVE_INFINITY])(
  'a weight of %s, which fp16 has no number for, is refused, and the other precisions take it',
  (weight) => {
    expect(() => stored([1, weight], 'fp16')).toThrow(
      /beyond 65504, the largest number of fp16: store them in fp32 \(--weights fp32\)/,
    );
    expect(stored([1, weight], 'fp32').map(({ type }) => type)).toEqual(['FLOAT']);
    expect(stored([1, weight], 'int8').map(({ type }) => type)).toEqual(['INT8', 'FLOAT']);
  },
);

test('the largest numbers of fp16 are stored as they are', () => {
  const [{ type, rawData }] = stored([65_504, -65_504], 'fp16');
  expect(type).toBe('FLOAT16');
  const { buffer, byteOffset } = Uint8Array.from(rawData);
  expect([...new Uint16Array(buffer, byteOffset, 2)].map(halfToNumber)).toEqual([65_504, -65_504]);
});
