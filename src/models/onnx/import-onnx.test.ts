import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, NodeProtoSchema, ValueInfoProtoSchema } from 'onnx-buf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { flatten, gemm, stored } from '../../../test/support/onnx-heads.js';
import { modelFile, node, noHints } from '../../../test/support/onnx-models.js';
import { describeOnnx, type OnnxHints } from './import-onnx.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-import-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

async function described(bytes: Uint8Array, hints: Partial<OnnxHints> = {}) {
  const path = join(folder, 'model.onnx');
  await writeFile(path, bytes);
  return describeOnnx(path, { ...noHints, ...hints });
}

describe('a model without images is refused for that, whatever its head is:', () => {
  const noHead = node('Relu', ['image'], ['out']);

  test('one of rows', async () => {
    const bytes = modelFile({ input: ['n', 40], nodes: [noHead], initializers: [], outputs: ['out'] });
    const refusal = described(bytes);
    await expect(refusal).rejects.toThrow(/2 axes.*--source rows\.npz/);
    await expect(refusal).rejects.not.toThrow(/--logits/);
  });

  test('a classifier of rows that is no product of matrices', async () => {
    const linear = create(NodeProtoSchema, {
      ...node('LinearClassifier', ['image'], ['label', 'out']),
      domain: 'ai.onnx.ml',
    });
    const parts = { nodes: [linear], initializers: [], outputs: ['out'] };
    await expect(described(modelFile({ input: ['n', 40], ...parts }))).rejects.toThrow(
      /a LinearClassifier, as this model has, is not read either.*--source rows\.npz/,
    );
    const ofImages = [flatten, Object.assign(clone(NodeProtoSchema, linear), { input: ['features'] })];
    const refusal = described(modelFile({ ...parts, nodes: ofImages }));
    await expect(refusal).rejects.toThrow(/a LinearClassifier is not read.*--source features\.npz/);
    await expect(refusal).rejects.not.toThrow(/--logits|no product/);
  });

  test('one of two inputs', async () => {
    const model = fromBinary(
      ModelProtoSchema,
      modelFile({ nodes: [noHead], initializers: [], outputs: ['out'] }),
    );
    model.graph?.input.push(create(ValueInfoProtoSchema, { name: 'temperature' }));
    await expect(described(toBinary(ModelProtoSchema, model))).rejects.toThrow(
      /found 2 \(image, temperature\).*as a constant/,
    );
  });

  test('one of an image without a batch', async () => {
    const bytes = modelFile({ input: [3, 4, 4], nodes: [noHead], initializers: [], outputs: ['out'] });
    await expect(described(bytes)).rejects.toThrow(/3 axes.*one image without a batch.*image\[None\]/);
  });
});

describe('where --logits names a value within the graph,', () => {
  const parts = {
    nodes: [
      ...gemm.nodes,
      node('Relu', ['features'], ['positive']),
      node('MatMul', ['positive', 'matrix'], ['other']),
      node('Add', ['out', 'other'], ['sum']),
      node('Softmax', ['sum'], ['mixed']),
      node('Softmax', ['out'], ['alone']),
      node('ArgMax', ['alone'], ['first']),
    ],
    initializers: [...gemm.initializers, { ...stored, name: 'matrix' }],
  };

  test('a warning says which output is made of more', async () => {
    const { warnings } = await described(modelFile({ ...parts, outputs: ['mixed', 'alone', 'first'] }), {
      logits: 'out',
    });
    expect(warnings).toEqual([
      expect.stringMatching(/the output "mixed" is not what is patched.*"out" .*\(Add\)/),
    ]);
  });

  test('nothing is said of outputs that pass it on', async () => {
    const { warnings } = await described(modelFile({ ...parts, outputs: ['alone', 'first'] }), {
      logits: 'out',
    });
    expect(warnings).toEqual([]);
  });
});
