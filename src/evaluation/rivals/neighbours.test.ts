import { create, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProto_DataType, TensorProtoSchema } from 'onnx-buf';
import { beforeAll, expect, test } from 'vitest';
import { floats, modelFile, node } from '../../../test/support/onnx-models.js';
import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import { createRandom } from '../../core/random.js';
import { numberToHalf } from '../../math/half.js';
import { firstClass, rankOf } from '../../math/rank.js';
import { scaleOf, standardise, standardisedLayer } from '../../models/feature-scale.js';
import { findHead } from '../../models/onnx/find-head.js';
import { decodeOnnxModel } from '../../models/onnx/model-file.js';
import { type NeighbourHead, withNeighbours } from '../../models/onnx/neighbour-head.js';
import { openSession } from '../../models/onnx/runtime.js';
import type { FeatureSet, HeadContext } from '../../training/heads/fit-head.js';
import { neighbourConstants, neighbourPredictions, neighboursRival, transposedUnits } from './neighbours.js';
import { predictions } from './rival.js';
import { scoreSet } from './scored-set.js';

let operations: Operations;
beforeAll(async () => {
  ({ operations } = await selectBackend('wasm'));
});

const width = 6;
const classes = 24;
const pictured = 8;
const random = createRandom('neighbours');
const draw = (length: number) => Float32Array.from({ length }, () => random.normal());

/** Points around a centre for each class, which the head below knows badly. */
const centres = draw(classes * width);
function points(rows: number, most: number): FeatureSet {
  const labels = Int32Array.from({ length: rows }, (_, row) => row % most);
  const features = Float32Array.from({ length: rows * width }, (_, at) => {
    const centre = centres[labels[Math.floor(at / width)] * width + (at % width)];
    return 5 + 3 * (centre + 0.7 * random.normal());
  });
  return { features, labels, rows, width };
}

const plainHead = {
  weights: Float32Array.from(
    { length: width * classes },
    (_, at) => 0.4 * centres[(at % classes) * width + Math.floor(at / classes)] + 0.1 * random.normal(),
  ),
  bias: draw(classes),
};
const raw = { train: points(160, pictured), test: points(90, classes) };
const scale = scaleOf(raw.train);
const standardised = (set: FeatureSet) => {
  const copy = { ...set, features: set.features.slice() };
  standardise(copy, scale);
  return copy;
};
const [train, images] = [raw.train, raw.test].map(standardised);
const isPictured = Uint8Array.from({ length: classes }, (_, label) => Number(label < pictured));

const contextOf = (): HeadContext => ({
  operations,
  head: standardisedLayer({ ...plainHead, width, classes }, scale),
  train,
  validation: images,
  imagesPerEpoch: train.rows,
  isPictured,
  inPlay: Int32Array.from(isPictured.keys()),
  epochs: 1,
  seed: 1,
  signal: new AbortController().signal,
});

const stored = (numbers: Pick<NeighbourHead, 'neighbours' | 'share' | 'shift'>): NeighbourHead => ({
  units: transposedUnits(train),
  labels: train.labels,
  scale,
  isPictured,
  ...numbers,
  ...neighbourConstants,
  blank: null,
});

const halves = (name: string, dims: readonly number[], values: Float32Array) =>
  create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT16,
    rawData: new Uint8Array(Uint16Array.from(values, numberToHalf).buffer),
  });

/** A classifier of rows of features, whose logits stand before a softmax. */
const dense = {
  input: ['batch', width],
  nodes: [
    node('Identity', ['image'], ['features']),
    node('Gemm', ['features', 'w', 'b'], ['logits']),
    node('Softmax', ['logits'], ['probabilities'], { axis: 1 }),
  ],
  initializers: [floats('w', [width, classes], plainHead.weights), floats('b', [classes], plainHead.bias)],
  outputs: ['probabilities', 'logits'],
};

async function run(bytes: Uint8Array, shape: readonly number[], outputs: readonly string[]) {
  const session = await openSession(bytes, { name: 'model.onnx' });
  const feed = { type: 'float32', data: raw.test.features, shape: [...shape] } as const;
  const results = await session.run({ image: feed }, outputs);
  session.dispose();
  return outputs.map((name) => results.get(name)?.values ?? new Float32Array());
}

const rowOf = (values: Float32Array, row: number, columns = classes) =>
  values.subarray(row * columns, (row + 1) * columns);

const numbers = [
  { neighbours: 8, share: 0.5, shift: 0 },
  { neighbours: 32, share: 0.95, shift: 1.25 },
  { neighbours: 8, share: 0.25, shift: -6 },
  { neighbours: 1000, share: 0.75, shift: 0.5 },
];

test.each(numbers)(
  'the written graph predicts what the rival does: $neighbours, $share, $shift',
  async (of) => {
    const rival = neighboursRival(contextOf());
    const [leaders] = await rival.leaders(await scoreSet(contextOf(), images), [of]);
    const expected = predictions(leaders, of.shift);
    for (const opset of [9, 11, 17]) {
      const parts = { ...dense, opset };
      const model = decodeOnnxModel('model.onnx', modelFile(parts));
      const head = await findHead(model);
      const { proto } = await withNeighbours(model, head, stored(of));
      expect(proto.graph?.output.map(({ name }) => name)).toEqual(dense.outputs);
      const made = toBinary(ModelProtoSchema, proto);
      await expect(findHead(decodeOnnxModel('model.onnx', made))).rejects.toThrow(
        /kd-spec export --refit neighbours wrote it/,
      );
      const [found, logits] = await run(made, [images.rows, width], dense.outputs);
      const [own, ownLogits] = await run(modelFile(parts), [images.rows, width], dense.outputs);
      const { probabilities, isClear } = await neighbourPredictions(operations, stored(of), {
        features: raw.test.features,
        logits: ownLogits,
        rows: images.rows,
      });
      expect(isClear.reduce((sum, one) => sum + one)).toBe(images.rows);
      let changed = 0;
      for (let row = 0; row < images.rows; row++) {
        const [after, before] = [rowOf(found, row), rowOf(own, row)];
        expect(firstClass(after)).toBe(expected[row]);
        changed += Number(firstClass(before) !== expected[row]);
        expect(after.reduce((sum, one) => sum + one)).toBeCloseTo(1, 5);
        const ten = before.toSorted().at(-neighbourConstants.first) ?? 0;
        for (let label = 0; label < classes; label++) {
          expect(after[label]).toBeCloseTo(probabilities[row * classes + label], 4);
          if (before[label] >= ten) continue;
          expect(after[label]).toBeCloseTo(before[label], 6);
          expect(rowOf(logits, row)[label]).toBe(rowOf(ownLogits, row)[label]);
        }
      }
      expect(changed).toBeGreaterThan(0);
    }
  },
);

test('of a sequence recogniser in half precision every step is ranked again, and its blank stays', async () => {
  const blank = 3;
  const steps = 2;
  const beside = (values: Float32Array, rows: number, ofBlank: number) => {
    const wide = new Float32Array(rows * (classes + 1)).fill(ofBlank);
    for (let row = 0; row < rows; row++)
      for (let label = 0; label < classes; label++)
        wide[row * (classes + 1) + label + Number(label >= blank)] = values[row * classes + label];
    return wide;
  };
  const all = classes + 1;
  const file = modelFile({
    input: ['batch', steps, width],
    nodes: [
      node('Cast', ['image'], ['features'], { to: TensorProto_DataType.FLOAT16 }),
      node('MatMul', ['features', 'w'], ['product']),
      node('Add', ['product', 'b'], ['logits']),
      node('Softmax', ['logits'], ['half'], { axis: 2 }),
      node('Cast', ['half'], ['probabilities'], { to: TensorProto_DataType.FLOAT }),
      node('Cast', ['logits'], ['wide'], { to: TensorProto_DataType.FLOAT }),
    ],
    initializers: [
      halves('w', [width, all], beside(plainHead.weights, width, 0)),
      halves('b', [all], beside(plainHead.bias, 1, 4)),
    ],
    outputs: ['probabilities', 'wide'],
    outputShapes: { probabilities: ['batch', steps, all] },
  });
  const of = {
    ...stored(numbers[1]),
    labels: train.labels.map((label) => label + Number(label >= blank)),
    isPictured: Uint8Array.from({ length: all }, (_, label) => Number(label <= pictured && label !== blank)),
    blank,
  };
  const model = decodeOnnxModel('model.onnx', file);
  const { proto } = await withNeighbours(model, await findHead(model, { logits: 'probabilities' }), of);
  const shape = [images.rows / steps, steps, width];
  const [found] = await run(toBinary(ModelProtoSchema, proto), shape, ['probabilities']);
  const [own, logits] = await run(file, shape, ['probabilities', 'wide']);
  const { probabilities } = await neighbourPredictions(operations, of, {
    features: raw.test.features,
    logits,
    rows: images.rows,
  });
  let agrees = 0;
  for (let row = 0; row < images.rows; row++) {
    const [after, before] = [rowOf(found, row, all), rowOf(own, row, all)];
    expect(after[blank]).toBeCloseTo(before[blank], 3);
    expect(Math.abs(after.reduce((sum, one) => sum + one) - 1)).toBeLessThan(0.01);
    // A neighbour that rounding of the features exchanges may change one image or another.
    const expected = rowOf(probabilities, row, all);
    agrees += Number(after.every((value, label) => Math.abs(value - expected[label]) < 0.02));
  }
  expect(agrees).toBeGreaterThan(0.9 * images.rows);
});

test('where none of the nearest is of the first classes, what the model predicts stays', async () => {
  const last = classes - 1;
  const of = { ...stored(numbers[0]), labels: new Int32Array(train.rows).fill(last) };
  const model = decodeOnnxModel('model.onnx', modelFile(dense));
  const { proto } = await withNeighbours(model, await findHead(model), of);
  const [found] = await run(toBinary(ModelProtoSchema, proto), [images.rows, width], ['probabilities']);
  const [own] = await run(modelFile(dense), [images.rows, width], ['probabilities']);
  let kept = 0;
  for (let row = 0; row < images.rows; row++) {
    const [after, before] = [rowOf(found, row), rowOf(own, row)];
    if (rankOf(before, last) < neighbourConstants.first) continue;
    for (const [label, value] of before.entries()) expect(after[label]).toBeCloseTo(value, 6);
    kept++;
  }
  expect(kept).toBeGreaterThan(20);
});

test('two features that are equally near tell who votes last only where they are of one class', async () => {
  const [one, other] = [0, 1].map((row) =>
    Array.from({ length: width }, (_, at) => stored(numbers[0]).units[at * train.rows + row]),
  );
  const units = Float32Array.from(one.flatMap((value, at) => [value, value, other[at]])); // (width, 3)
  const clear = async (...labels: readonly number[]) => {
    const of = { ...stored({ neighbours: 1, share: 0.5, shift: 0 }), units, labels: Int32Array.from(labels) };
    const query = { features: raw.train.features.slice(0, width), logits: draw(classes), rows: 1 };
    return (await neighbourPredictions(operations, of, query)).isClear[0];
  };
  expect(await clear(0, 0, 1)).toBe(1);
  expect(await clear(0, 1, 2)).toBe(0);
});
