import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  TensorProto_DataType,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gemm, width } from '../../../test/support/onnx-heads.js';
import { floats, integers, modelFile, node, noHints } from '../../../test/support/onnx-models.js';
import { describeOnnx } from './import-onnx.js';
import { decodeOnnxModel } from './model-file.js';
import { openOnnxBackbone } from './onnx-backbone.js';
import { openOnnxClassifier } from './onnx-classifier.js';
import { openSession } from './runtime.js';
import { expectInference } from './training-mode.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-training-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const pixels = Float32Array.from({ length: 2 * width }, (_, at) => 0.1 + at / 100);
const { initializers } = gemm;
const mode = (value: number) => {
  const tensor = integers('mode', [], Uint8Array.of(value));
  tensor.dataType = TensorProto_DataType.BOOL;
  return tensor;
};

/** `Gemm(Dropout(Flatten(Relu(image))))`, with what a test adds. */
function withDropout({
  dropout = node('Dropout', ['flat', 'ratio', 'mode'], ['features']),
  more = [],
  outputs = ['out'],
  first = node('Relu', ['image'], ['rectified']),
  opset = 17,
}: {
  readonly dropout?: NodeProto;
  readonly more?: readonly NodeProto[];
  readonly outputs?: readonly string[];
  readonly first?: NodeProto;
  readonly opset?: number;
} = {}) {
  return modelFile({
    nodes: [first, node('Flatten', ['rectified'], ['flat']), dropout, ...gemm.nodes.slice(1), ...more],
    initializers: [...initializers, floats('ratio', [], Float32Array.of(0.5)), mode(1)],
    outputs,
    opset,
  });
}

const check = async (bytes: Uint8Array, outputs: readonly string[] = ['out']) =>
  expectInference(decodeOnnxModel('model.onnx', bytes), outputs);

/** What ONNX Runtime makes of images, in as many runs as there are counts of them. */
async function runs(bytes: Uint8Array, counts: readonly number[]) {
  const session = await openSession(bytes, { name: 'model' });
  const results: (readonly number[])[] = [];
  for (const count of counts) {
    const data = pixels.slice(0, count * width);
    const feeds = { image: { type: 'float32' as const, data, shape: [count, 3, 4, 4] } };
    results.push(Array.from((await session.run(feeds, ['out'])).get('out')?.values ?? []));
  }
  session.dispose();
  return results;
}

/** What it makes of the same images twice. */
const twice = (bytes: Uint8Array) => runs(bytes, [2, 2]);

describe('a Dropout in training mode', () => {
  test.each([12, 13, 22])(
    'of set %i is none: features are what it takes, and that is said',
    async (opset) => {
      const path = join(folder, 'dropout.onnx');
      await writeFile(path, withDropout({ opset }));
      const { model, head, input, warnings } = await describeOnnx(path, noHints);
      expect(head.features).toBe('flat');
      expect(warnings).toEqual([
        expect.stringMatching(/the Dropout: in training mode, and taken as none.*model\.eval\(\)/),
      ]);
      const backbone = await openOnnxBackbone(model, {
        kind: 'onnx',
        model: path,
        features: head.features,
        width,
        output: 'out',
        blank: null,
        input: { ...input, image: { ...input.image }, batch: null },
        reading: { order: 'rgb', normalisation: { name: '0 to 1', mean: [0, 0, 0], deviation: [1, 1, 1] } },
      });
      const features = await backbone.features({ images: pixels, count: 2 });
      backbone.dispose();
      const channelsFirst = Array.from(
        { length: 2 * width },
        (_, at) => pixels[at - (at % width) + (at % 16) * 3 + Math.floor((at % width) / 16)],
      );
      expect(Array.from(features)).toEqual(channelsFirst);
      expect((await describeOnnx(path, { ...noHints, features: 'features' })).head.features).toBe('flat');
    },
  );

  const masked = node('Dropout', ['flat', 'ratio', 'mode'], ['features', 'mask']);
  test.each([
    ['on the way', withDropout()],
    ['whose mask nothing takes', withDropout({ dropout: masked })],
    ['behind an output', withDropout({ outputs: ['out', 'flat'] })],
  ])('%s is left out by ONNX Runtime, as is assumed here', async (_, bytes) => {
    const [first, second] = await twice(bytes);
    expect(first).toEqual(second);
    expect(await check(bytes)).toHaveLength(1);
    expect(await check(bytes, ['flat'])).toEqual([]);
  });

  test.each([
    ['that makes an output', withDropout({ outputs: ['out', 'features'] })],
    [
      'whose mask is used',
      withDropout({
        dropout: masked,
        more: [node('Cast', ['mask'], ['kept'], { to: 1 })],
        outputs: ['out', 'kept'],
      }),
    ],
    [
      'of the images themselves',
      withDropout({ first: node('Dropout', ['image', 'ratio', 'mode'], ['rectified']) }),
    ],
  ])('%s draws random numbers, and is refused', async (_, bytes) => {
    const [first, second] = await twice(bytes);
    expect(first).not.toEqual(second);
    await expect(check(bytes)).rejects.toThrow(/the Dropout is in training mode.*model\.eval\(\)/);
  });

  test('or not, as the image has it, is refused', async () => {
    const dropout = node('Dropout', ['flat', 'ratio', 'trains'], ['features']);
    const more = [
      node('ReduceMax', ['image'], ['most'], { keepdims: 0 }),
      node('Cast', ['most'], ['trains'], { to: 9 }),
    ];
    await expect(check(withDropout({ dropout, more }))).rejects.toThrow(
      /as "trains" says, whose value is not told before the model runs/,
    );
  });
});

describe('a Dropout within', () => {
  const dropout = node('Dropout', ['flat', 'ratio', 'own mode'], ['kept']);
  const own = (value: number) => Object.assign(mode(value), { name: 'own mode' });
  const given = (value: number) => {
    const constant = node('Constant', [], ['own mode']);
    constant.attribute = [
      create(AttributeProtoSchema, {
        name: 'value',
        type: AttributeProto_AttributeType.TENSOR,
        t: mode(value),
      }),
    ];
    return constant;
  };
  const kept = create(ValueInfoProtoSchema, { name: 'kept' });

  /** Either branch is a Dropout; the mode is stored in it, made in it, or stored around it. */
  const inBranch = (
    nodes: readonly NodeProto[],
    stored: readonly TensorProto[],
    around: TensorProto[] = [],
  ) => {
    const g = create(GraphProtoSchema, {
      name: 'branch',
      node: [...nodes],
      initializer: [...stored],
      output: [kept],
    });
    const branches = node('If', ['mode'], ['features']);
    branches.attribute = ['then_branch', 'else_branch'].map((name) =>
      create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g }),
    );
    const file = fromBinary(ModelProtoSchema, withDropout({ dropout: branches }));
    file.graph?.initializer.push(...around);
    return toBinary(ModelProtoSchema, file);
  };

  test.each([
    ['stored there', (value: number) => inBranch([dropout], [own(value)])],
    ['made there', (value: number) => inBranch([given(value), dropout], [])],
    ['stored around it', (value: number) => inBranch([dropout], [], [own(value)])],
  ])('a branch is known by a mode that is %s', async (_, bytes) => {
    expect(await check(bytes(0))).toEqual([]);
    await expect(check(bytes(1))).rejects.toThrow(/within a branch or a function, where it is not known/);
  });

  test('a function is known by a mode that is made there, whatever has its name elsewhere', async () => {
    const inFunction = (nodes: readonly NodeProto[], input: readonly string[], around: number) => {
      const call = Object.assign(
        node('Keep', ['flat', 'ratio', 'mode'].slice(0, input.length), ['features']),
        {
          domain: 'own',
        },
      );
      const file = fromBinary(ModelProtoSchema, withDropout({ dropout: call }));
      file.graph?.initializer.push(own(around));
      const body = { name: 'Keep', domain: 'own', input: [...input], output: ['kept'], node: [...nodes] };
      file.functions.push(create(FunctionProtoSchema, body));
      return toBinary(ModelProtoSchema, file);
    };
    expect(await check(inFunction([given(0), dropout], ['flat', 'ratio'], 1))).toEqual([]);
    await expect(check(inFunction([given(1), dropout], ['flat', 'ratio'], 0))).rejects.toThrow(/not known/);
    await expect(check(inFunction([dropout], ['flat', 'ratio', 'own mode'], 0))).rejects.toThrow(
      /as "own mode" says, whose value is not told/,
    );
  });
});

test('a normalisation by the batch is refused, and one that no wanted output needs is not', async () => {
  const bytes = modelFile({
    nodes: [
      node('BatchNormalization', ['image', 's', 's', 's', 's'], ['normal', 'mean', 'variance'], {
        training_mode: 1,
      }),
      node('Flatten', ['normal'], ['features']),
      ...gemm.nodes.slice(1),
      node('Flatten', ['image'], ['flat']),
    ],
    initializers: [...initializers, floats('s', [3], Float32Array.of(1, 1, 1))],
    outputs: ['out', 'flat'],
  });
  const path = join(folder, 'batch.onnx');
  await writeFile(path, bytes);
  await expect(describeOnnx(path, noHints)).rejects.toThrow(
    /the BatchNormalization is in training mode.*prediction of an image depends on the others.*model\.eval\(\)/,
  );
  expect(await check(bytes, ['flat'])).toEqual([]);
});

describe('before there was an attribute for it,', () => {
  const normalised = (outputs: readonly string[], opset: number) =>
    modelFile({
      nodes: [
        node('BatchNormalization', ['image', 'scale', 'shift', 'shift', 'scale'], ['normal', ...outputs]),
        node('Flatten', ['normal'], ['features']),
        ...gemm.nodes.slice(1),
      ],
      initializers: [
        ...initializers,
        floats('scale', [3], Float32Array.of(1, 1, 1)),
        floats('shift', [3], new Float32Array(3)),
      ],
      outputs: ['out'],
      opset,
    });

  test.each([7, 9, 13])(
    'a normalisation of set %i is by the batch where it makes more than one value',
    async (opset) => {
      const trains = normalised(['mean', 'variance', 'saved mean', 'saved variance'], opset);
      const [together, alone] = await runs(trains, [2, 1]);
      expect(Math.abs(together[0] - alone[0])).toBeGreaterThan(0.01);
      await expect(check(trains)).rejects.toThrow(/the BatchNormalization is in training mode/);

      const infers = normalised([], opset);
      const [two, one] = await runs(infers, [2, 1]);
      expect(two[0]).toBeCloseTo(one[0], 5);
      expect(await check(infers)).toEqual([]);
    },
  );
});

test('random numbers on the way to an output are refused, and those beside it are not', async () => {
  const bytes = withDropout({
    dropout: node('Identity', ['flat'], ['features']),
    more: [node('RandomNormalLike', ['out'], ['noise']), node('Add', ['out', 'noise'], ['noisy'])],
    outputs: ['out', 'noisy'],
  });
  await expect(check(bytes, ['noisy'])).rejects.toThrow(/the RandomNormalLike draws random numbers/);
  expect(await check(bytes)).toEqual([]);
});

test('a classifier that is opened as it is has to be deterministic, too', async () => {
  const path = join(folder, 'random.onnx');
  await writeFile(path, withDropout({ outputs: ['out', 'features'] }));
  await expect(openOnnxClassifier(path)).rejects.toThrow(/the Dropout is in training mode/);
});
