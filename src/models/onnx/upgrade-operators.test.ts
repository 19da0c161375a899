import { toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { floats, modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import { decodeOnnxModel } from './model-file.js';
import { openSession } from './runtime.js';
import { upgradeOperators, upgradeProblem } from './upgrade-operators.js';

const random = createRandom('upgrade');
const pixels = Float32Array.from({ length: 2 * 48 }, () => random.normal());
const weights = Float32Array.from({ length: 12 * 12 }, () => random.normal());
const ones = (value: number) => Float32Array.from({ length: 3 }, (_, at) => value + at);

/** Each operator that changed its form, in that of set 9. */
const old = {
  opset: 9,
  nodes: [
    node('Pad', ['image'], ['padded'], { pads: [0, 0, 1, 0, 0, 0, 0, 1], value: { float: 0.5 } }),
    node('BatchNormalization', ['padded', 'scale', 'shift', 'mean', 'variance'], ['normal']),
    node('Clip', ['normal'], ['clipped'], { min: { float: -1 }, max: { float: 1.5 } }),
    node('Clip', ['clipped'], ['low'], { max: { float: 1 } }),
    node('Slice', ['low'], ['cut'], { starts: [1, 0], ends: [5, -1], axes: [2, 3] }),
    node('GlobalAveragePool', ['cut'], ['pooled']),
    node('Slice', ['cut'], ['few'], { starts: [0, 0, 0, 0], ends: [100, 3, 2, 2] }),
    node('Flatten', ['few'], ['flat']),
    node('MatMul', ['flat', 'w'], ['logits']),
    node('TopK', ['logits'], ['out', 'indices'], { k: 4 }),
  ],
  initializers: [
    floats('scale', [3], ones(0.5)),
    floats('shift', [3], ones(-0.2)),
    floats('mean', [3], ones(0)),
    floats('variance', [3], ones(1)),
    floats('w', [12, 12], weights),
  ],
};

async function outputsOf(bytes: Uint8Array) {
  const session = await openSession(bytes, { name: 'model.onnx' });
  const feed = { type: 'float32', data: pixels, shape: [2, 3, 4, 4] } as const;
  const results = await session.run({ image: feed }, ['out', 'pooled']);
  session.dispose();
  return ['out', 'pooled'].map((name) => results.get(name));
}

test('a model of set 9 computes the same as one of set 11', async () => {
  const bytes = modelFile({ ...old, outputs: ['out', 'pooled'] });
  const model = decodeOnnxModel('model.onnx', bytes);
  expect(upgradeProblem(model)).toBeUndefined();
  const upgraded = upgradeOperators(model);
  expect(upgraded.opset).toBe(11);
  expect(upgraded.graph.node.map(({ opType }) => opType)).toEqual(old.nodes.map(({ opType }) => opType));
  const [before, after] = [
    await outputsOf(bytes),
    await outputsOf(toBinary(ModelProtoSchema, upgraded.proto)),
  ];
  expect(before[0]?.shape).toEqual([2, 4]);
  for (const [at, one] of before.entries()) {
    expect(after[at]?.shape).toEqual(one?.shape);
    one?.values.forEach((value, place) => {
      expect(after[at]?.values[place]).toBeCloseTo(value, 6);
    });
  }
  expect(upgradeOperators(upgraded)).toBe(upgraded);
});

test.each([
  ['Upsample', 9, [node('Upsample', ['image', 'scales'], ['out'])], /operator Upsample/],
  ['an old set', 6, [node('Relu', ['image'], ['out'])], /too old/],
] as const)('%s is not converted', (_, opset, nodes, problem) => {
  const scales = floats('scales', [4], Float32Array.of(1, 1, 2, 2));
  const model = decodeOnnxModel(
    'model.onnx',
    modelFile({ opset, nodes: [...nodes], initializers: [scales], outputs: ['out'] }),
  );
  expect(upgradeProblem(model)).toMatch(problem);
});
