import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  FunctionProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
} from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  bias,
  classes,
  convolution,
  flatten,
  fused,
  gemm,
  integerHeads,
  quantised,
  scaled,
  stored,
  storedBias,
  weights,
  width,
} from '../../../test/support/onnx-heads.js';
import { floats, integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { findHead, type HeadHints, withFeatures } from './find-head.js';
import { decodeOnnxModel, readOnnxModel } from './model-file.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-head-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

type Parts = Omit<Parameters<typeof modelFile>[0], 'outputs'> & { readonly outputs?: readonly string[] };

async function headOf(parts: Parts, hints: HeadHints = {}) {
  const path = join(folder, 'model.onnx');
  await writeFile(path, modelFile({ outputs: ['out'], ...parts }));
  return findHead(await readOnnxModel(path), hints);
}

function expectHead(head: Awaited<ReturnType<typeof findHead>>, tolerance = 1e-6): void {
  expect(head).toMatchObject({ features: 'features', width, classes });
  for (let i = 0; i < weights.length; i++)
    expect(Math.abs(head.weights[i] - weights[i])).toBeLessThanOrEqual(tolerance);
  for (let c = 0; c < classes; c++) expect(Math.abs(head.bias[c] - bias[c])).toBeLessThanOrEqual(tolerance);
}

describe('a head is found, with the weights and the bias it stands for,', () => {
  test('as MatMul, Add and Softmax', async () => {
    const head = await headOf({
      nodes: [
        flatten,
        node('MatMul', ['features', 'w'], ['product']),
        node('Add', ['product', 'b'], ['logits']),
        node('Softmax', ['logits'], ['out'], { axis: -1 }),
      ],
      initializers: [stored, storedBias],
    });
    expectHead(head);
    expect(head.outputHolds).toBe('probabilities');
  });

  test('as Gemm with transposed weights, as PyTorch exports a linear layer', async () => {
    const head = await headOf(gemm);
    expectHead(head);
    expect(head.outputHolds).toBe('logits');
  });

  test('with weights that the graph normalises and scales, as a cosine head of PyTorch has them', async () => {
    const head = await headOf({
      nodes: [
        flatten,
        node('ReduceL2', ['w'], ['norm'], { axes: [1] }),
        node('Shape', ['w'], ['shape']),
        node('Expand', ['norm', 'shape'], ['norms']),
        node('Div', ['w', 'norms'], ['unit']),
        node('Transpose', ['unit'], ['turned'], { perm: [1, 0] }),
        node('MatMul', ['features', 'turned'], ['cosine']),
        node('Mul', ['cosine', 'scale'], ['out']),
      ],
      initializers: [...gemm.initializers, floats('scale', [], Float32Array.of(16))],
    });
    expect(head).toMatchObject({ features: 'features', width, classes });
    for (let c = 0; c < classes; c++) {
      const column = Array.from({ length: width }, (_, i) => weights[i * classes + c]);
      const norm = Math.hypot(...column);
      for (let i = 0; i < width; i++)
        expect(head.weights[i * classes + c]).toBeCloseTo((16 * column[i]) / norm, 5);
    }
  });

  test('with an output of one step, (batch, 1, classes), which is no sequence', async () => {
    const isSequence = async (first: number | string, second: number | string) =>
      (await headOf({ ...scaled, outputShapes: { out: [first, second, classes] } })).isSequence;
    expect(await isSequence('batch', 1)).toBe(false);
    expect(await isSequence('batch', 'steps')).toBe(true);
    expect(await isSequence(26, 1)).toBe(true); // (steps, 1, classes)
  });

  test('with weights quantised in blocks', async () => {
    const rows = 16; // of a block
    const columns = Float32Array.from({ length: (width / rows) * classes }, (_, at) => 0.01 * (1 + at));
    const steps = Int8Array.from(weights, (value) => Math.round(value * 20));
    const head = await headOf({
      opset: 21,
      nodes: [
        flatten,
        node('DequantizeLinear', ['q', 's'], ['w'], { axis: 0, block_size: rows }),
        node('MatMul', ['features', 'w'], ['out']),
      ],
      initializers: [integers('q', [width, classes], steps), floats('s', [width / rows, classes], columns)],
    });
    for (let i = 0; i < weights.length; i++) {
      const block = Math.floor(i / classes / rows);
      expect(head.weights[i]).toBeCloseTo(steps[i] * columns[block * classes + (i % classes)], 5);
    }
  });

  test('as Gemm with alpha and beta', async () => {
    const half = Float32Array.from(weights, (value) => value / 2);
    const third = Float32Array.from(bias, (value) => value / 3);
    expectHead(
      await headOf({
        nodes: [
          flatten,
          node('Gemm', ['features', 'w', 'b'], ['out'], { alpha: { float: 2 }, beta: { float: 3 } }),
        ],
        initializers: [floats('w', [width, classes], half), floats('b', [classes], third)],
      }),
    );
  });

  test('behind a transposition of the weights, a scale and a change of shape', async () => {
    expectHead(await headOf(scaled));
  });

  test('as a convolution of one pixel', async () => {
    expectHead(await headOf(convolution));
  });

  test('with weights quantised to 8 bits, one scale a class', async () => {
    const scales = Float32Array.from({ length: classes }, (_, c) => 0.02 + 0.001 * c);
    const inBytes = Int8Array.from(weights, (value, i) => Math.round(value / scales[i % classes]));
    const head = await headOf({
      nodes: [
        flatten,
        node('DequantizeLinear', ['q', 'scale', 'zero'], ['w'], { axis: 1 }),
        node('MatMul', ['features', 'w'], ['product']),
        node('Add', ['product', 'b'], ['out']),
      ],
      initializers: [
        integers('q', [width, classes], inBytes),
        floats('scale', [classes], scales),
        integers('zero', [classes], new Int8Array(classes)),
        storedBias,
      ],
    });
    expectHead(head, 0.013);
  });

  test('dynamically quantised, with a zero point', async () => {
    expectHead(await headOf(quantised), 0.016);
    expectHead(await headOf(fused), 0.016);
  });

  test.each(Object.entries(integerHeads))('of integers alone, as %s', async (_, parts) => {
    const path = join(folder, 'integers.onnx');
    await writeFile(path, modelFile({ outputs: ['out'], ...parts }));
    const read = await readOnnxModel(path);
    await expect(findHead(read)).rejects.toThrow(/its features exist as integers alone/);
    const model = await withFeatures(read);
    const head = await findHead(model);
    expectHead({ ...head, features: 'features' }, 0.022);
    const made = model.producers.get(head.features);
    expect(made?.input).toEqual(['flat', 'xs', 'xz']);
    // One node more, which no other takes; and none where there is one already.
    expect(model.graph.node.filter((one) => one !== made)).toEqual(read.graph.node);
    expect(model.consumers.get(head.features)).toBeUndefined();
    expect(await withFeatures(model)).toBe(model);
  });

  test('of codes that leave out what is below zero, which are other numbers than what they were made of', async () => {
    const { nodes, initializers } = integerHeads.QGemm;
    const [, , ...rest] = nodes;
    const path = join(folder, 'cut.onnx');
    const parts = { nodes: [flatten, node('QuantizeLinear', ['features', 'xs', 'xz'], ['flat']), ...rest] };
    await writeFile(path, modelFile({ outputs: ['out'], ...parts, initializers }));
    const model = await withFeatures(await readOnnxModel(path));
    const head = await findHead(model);
    expect(model.producers.get(head.features)).toMatchObject({ opType: 'DequantizeLinear' });
  });
});

describe('what cannot be decided is refused with the flag that decides:', () => {
  const two = {
    nodes: [
      flatten,
      node('MatMul', ['features', 'w'], ['out']),
      node('Relu', ['features'], ['other features']),
      node('MatMul', ['other features', 'w'], ['second']),
    ],
    initializers: [stored],
    outputs: ['out', 'second'],
  };

  test('two classifiers in one model', async () => {
    await expect(headOf(two)).rejects.toMatchObject({
      code: 'checkpoint-invalid',
      message: expect.stringMatching(/several outputs .*"out" of 5 classes.*--logits NAME/),
    });
    expect((await headOf(two, { logits: 'second' })).features).toBe('other features');
    expect((await headOf(two, { features: 'features' })).output).toBe('out');
  });

  describe('two layers of as many classes on the same features', () => {
    const turned = floats('v', [width, classes], weights.toReversed());
    const initializers = [stored, storedBias, turned];
    const aux = node('MatMul', ['features', 'v'], ['aux']);
    const logits = [
      node('MatMul', ['features', 'w'], ['product']),
      node('Add', ['product', 'b'], ['logits']),
      node('Softmax', ['logits'], ['out']),
    ];

    test.each([[['aux', 'logits']], [['logits', 'aux']], [['aux', 'logits', 'out']]])(
      'are refused: %j',
      async (outputs) => {
        const parts = { nodes: [flatten, aux, ...logits], initializers, outputs };
        await expect(headOf(parts)).rejects.toMatchObject({
          code: 'checkpoint-invalid',
          message: expect.stringMatching(/"aux" of 5 classes.*--logits NAME/),
        });
        await expect(headOf(parts)).rejects.toThrow(/"logits" of 5 classes/);
        expectHead(await headOf(parts, { logits: 'logits' }));
        expect((await headOf(parts, { logits: 'aux' })).weights).toEqual(weights.toReversed());
      },
    );

    test('are named with their mean, where that is an output, too', async () => {
      const mean = node('Mean', ['aux', 'logits'], ['mean']);
      const parts = { nodes: [flatten, aux, ...logits, mean], initializers };
      await expect(headOf({ ...parts, outputs: ['mean', 'aux', 'logits'] })).rejects.toThrow(
        /"aux" of 5 classes, "logits" of 5 classes, "mean" of 5 classes\): say which/,
      );
    });

    test('are two, where one product gets a bias or a scale of its own for each class', async () => {
      const others = [
        node('Add', ['product', 'tilt'], ['tilted']),
        node('Mul', ['logits', 'tilt'], ['scaled']),
        node('Neg', ['two'], ['negative']),
        node('Mul', ['logits', 'negative'], ['turned']),
      ];
      const tilt = floats(
        'tilt',
        [classes],
        Float32Array.from({ length: classes }, (_, c) => 1 + c),
      );
      const two = floats('two', [], Float32Array.of(2));
      const parts = { nodes: [flatten, ...logits, ...others], initializers: [...initializers, tilt, two] };
      for (const second of ['tilted', 'scaled', 'turned'])
        await expect(headOf({ ...parts, outputs: ['logits', second] })).rejects.toThrow(
          new RegExp(`"logits" of 5 classes, "${second}" of 5 classes.*--logits NAME`),
        );
    });

    test('are one, where all is made of one product, or one is a copy of the other', async () => {
      const views = [
        node('Identity', ['logits'], ['view']),
        node('Mul', ['logits', 'two'], ['sharper']),
        node('Sub', ['sharper', 'two'], ['lower']),
        node('Softmax', ['sharper'], ['confident']),
        node('MatMul', ['features', 'w'], ['copied product']),
        node('Add', ['copied product', 'b'], ['copy']),
      ];
      const two = floats('two', [], Float32Array.of(2));
      const parts = { nodes: [flatten, ...logits, ...views], initializers: [...initializers, two] };
      for (const outputs of [
        ['logits', 'out'],
        ['out', 'logits', 'view'],
        ['logits', 'copy'],
        ['logits', 'lower'],
      ])
        expectHead(await headOf({ ...parts, outputs }));
      const { output } = await headOf({ ...parts, outputs: ['logits', 'confident'] });
      expect(output).toBe('confident');
    });
  });

  test('a model that ends in something else', async () => {
    const parts = {
      nodes: [
        flatten,
        node('MatMul', ['features', 'w'], ['logits']),
        node('Relu', ['logits'], ['rectified']),
        node('ReduceSum', ['rectified'], ['out']),
      ],
      initializers: [stored],
    };
    await expect(headOf(parts)).rejects.toThrow(/ReduceSum is not linear .*--logits NAME.*"logits"/);
    expect((await headOf(parts, { logits: 'logits' })).classes).toBe(classes);
  });

  test('sums of themselves, and a value that is added to itself again and again', async () => {
    const product = [flatten, node('MatMul', ['features', 'w'], ['product'])];
    const circle = [node('Add', ['product', 'second'], ['out']), node('Add', ['out', 'product'], ['second'])];
    await expect(headOf({ nodes: [...product, ...circle], initializers: [stored] })).rejects.toThrow(/Add/);
    const doubled = Array.from({ length: 30 }, (_, depth) => {
      const from = depth === 0 ? 'product' : `sum${depth - 1}`;
      return node('Add', [from, from], [depth === 29 ? 'out' : `sum${depth}`]);
    });
    await expect(headOf({ nodes: [...product, ...doubled], initializers: [stored] })).rejects.toThrow(/Add/);
  });

  test('a head that quantisation left as integers alone, and one within a function: not by a flag, but by what helps', async () => {
    const integersOnly = {
      nodes: [
        flatten,
        node('MatMulNBits', ['features', 'w'], ['product']),
        node('Softmax', ['product'], ['out']),
      ],
      initializers: [stored],
    };
    await expect(headOf(integersOnly)).rejects.toThrow(/\(MatMulNBits\).*QuantFormat\.QDQ/);
    const path = join(folder, 'function.onnx');
    const bytes = modelFile({
      nodes: [flatten, create(NodeProtoSchema, { ...node('Head', ['features'], ['out']), domain: 'own' })],
      initializers: [stored],
      outputs: ['out'],
    });
    const model = fromBinary(ModelProtoSchema, bytes);
    model.functions.push(create(FunctionProtoSchema, { name: 'Head', domain: 'own' }));
    await writeFile(path, toBinary(ModelProtoSchema, model));
    await expect(findHead(await readOnnxModel(path))).rejects.toThrow(/\(Head\).*inline_local_functions/);
  });

  test('features of another name than the head takes, and a value that is not there', async () => {
    const parts = { nodes: [flatten, node('MatMul', ['features', 'w'], ['out'])], initializers: [stored] };
    await expect(headOf(parts, { features: 'pooled' })).rejects.toThrow(/takes "features", not "pooled"/);
    await expect(headOf(parts, { logits: 'nothing' })).rejects.toThrow(/no value "nothing" \(--logits\)/);
  });

  test('weights that are made of themselves, and random ones', async () => {
    const circle = [
      flatten,
      node('Identity', ['v'], ['w']),
      node('Identity', ['w'], ['v']),
      node('MatMul', ['features', 'w'], ['out']),
    ];
    await expect(headOf({ nodes: circle, initializers: [] })).rejects.toThrow(/no constants/);
    const random = [
      flatten,
      node('RandomNormal', [], ['w'], { shape: [width, classes] }),
      node('MatMul', ['features', 'w'], ['out']),
    ];
    await expect(headOf({ nodes: random, initializers: [] })).rejects.toThrow(/no constants/);
  });

  test('weights that are not numbers', async () => {
    const broken = weights.with(7, Number.NaN);
    const parts = {
      nodes: [flatten, node('MatMul', ['features', 'w'], ['out'])],
      initializers: [floats('w', [width, classes], broken)],
    };
    await expect(headOf(parts)).rejects.toThrow(/not all finite/);
  });

  test('weights of more than 2 GB together, before any of them is read', () => {
    const vast = create(TensorProtoSchema, {
      name: 'vast',
      dims: [2n ** 15n, 2n ** 15n],
      dataType: TensorProto_DataType.FLOAT,
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: [
        { key: 'location', value: 'nowhere' },
        { key: 'length', value: String(2 ** 32) },
      ],
    });
    const bytes = modelFile({
      nodes: [node('MatMul', ['image', 'vast'], ['logits'])],
      initializers: [vast],
      outputs: ['logits'],
    });
    expect(() => decodeOnnxModel('vast.onnx', bytes)).toThrow(/at most 2 GB.*found 4\.0 GB.*float16/);
  });

  test('weights shorter than their shape, and external data outside of the folder', async () => {
    const nodes = [flatten, node('MatMul', ['features', 'w'], ['out'])];
    const short = create(TensorProtoSchema, { ...stored, rawData: new Uint8Array(8) });
    await expect(headOf({ nodes, initializers: [short] })).rejects.toThrow(/needs 240 values, found 2/);
    const outside = create(TensorProtoSchema, {
      name: stored.name,
      dims: stored.dims,
      dataType: stored.dataType,
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: [{ key: 'location', value: '../../etc/passwd' }],
    });
    await expect(headOf({ nodes, initializers: [outside] })).rejects.toThrow(/outside the model's folder/);
  });
});

test('a file that is no model says what it is', async () => {
  const path = join(folder, 'pointer.onnx');
  await writeFile(path, 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n');
  await expect(readOnnxModel(path)).rejects.toThrow(/Git LFS pointer/);
  await writeFile(path, '<!DOCTYPE html><html></html>');
  await expect(readOnnxModel(path)).rejects.toThrow(/web page/);
  await writeFile(path, 'PK\u0003\u0004 and so on, which no protocol buffer begins with \u00ff\u00ff');
  await expect(readOnnxModel(path)).rejects.toThrow(/PyTorch/);
  await writeFile(path, '');
  await expect(readOnnxModel(path)).rejects.toThrow(/empty/);
});

test('what is no regular file is refused as that, and a folder with the models in it', async () => {
  const refused = (path: string, message: RegExp) =>
    expect(readOnnxModel(path)).rejects.toMatchObject({
      code: 'checkpoint-invalid',
      message: expect.stringMatching(message),
    });
  await refused('/dev/null', /dev\/null: expected an ONNX model, found a device: name a regular file/);
  const pipe = join(folder, 'pipe.onnx');
  await promisify(execFile)('mkfifo', [pipe]);
  await refused(pipe, /expected an ONNX model, found a pipe/);
  const models = join(folder, 'models');
  await mkdir(models);
  await refused(models, /found a folder: no \.onnx file lies in it/);
  await writeFile(join(models, 'one.onnx'), '');
  await refused(models, /found a folder: name the file in it \(one\.onnx\)/);
});
