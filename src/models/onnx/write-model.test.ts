import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { StringStringEntryProtoSchema, TensorProto_DataLocation, TensorProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { floats, modelFile, node } from '../../../test/support/onnx-models.js';
import { constantOf, wholeModel } from './constants.js';
import { decodeOnnxModel, readOnnxModel } from './model-file.js';
import { writeOnnxModel } from './write-model.js';

test('a model and its external data are written into a folder that is made for them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-write-'));
  try {
    const weights = Float32Array.from({ length: 48 * 20 }, (_, at) => at);
    const bytes = modelFile({
      nodes: [node('Flatten', ['image'], ['features']), node('MatMul', ['features', 'w'], ['logits'])],
      initializers: [floats('w', [48, 20], weights)],
      outputs: ['logits'],
    });
    const path = join(folder, 'new', 'model.onnx');
    const written = await writeOnnxModel(path, decodeOnnxModel(path, bytes).proto, { isExternal: true });
    expect(written.files).toEqual([path, `${path}.data`]);
    expect((await stat(`${path}.data`)).size).toBe(4 * weights.length);
    const read = await constantOf(await readOnnxModel(path), 'w');
    expect(read?.values).toEqual(Float64Array.from(weights));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.each([
  { dims: [-4n], message: /"w" needs -16 bytes of external data/ },
  { dims: [2n ** 62n, 2n ** 62n], message: /expected at most 2 GB/ },
  { dims: [2n ** 28n], message: /weights\.bin ends before the data of tensor "w"/ },
])('external data of $dims values are refused before there is room for them', async ({ dims, message }) => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-vast-'));
  try {
    await writeFile(join(folder, 'weights.bin'), new Uint8Array(16));
    const outside = create(TensorProtoSchema, {
      ...floats('w', [], new Float32Array()),
      dims,
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: [create(StringStringEntryProtoSchema, { key: 'location', value: 'weights.bin' })],
    });
    const bytes = modelFile({
      nodes: [node('MatMul', ['image', 'w'], ['logits'])],
      initializers: [outside],
      outputs: ['logits'],
    });
    const refusal = wholeModel(decodeOnnxModel(join(folder, 'model.onnx'), bytes));
    await expect(refusal).rejects.toMatchObject({
      code: 'checkpoint-invalid',
      message: expect.stringMatching(message),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
