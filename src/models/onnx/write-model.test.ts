import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { floats, modelFile, node } from '../../../test/support/onnx-models.js';
import { constantOf } from './constants.js';
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
