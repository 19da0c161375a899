import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { classes, gemm, quantised, width } from '../../../test/support/onnx-heads.js';
import { integers, modelFile, node } from '../../../test/support/onnx-models.js';
import { operationsOn } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import { describeOnnx, importOnnx } from './import-onnx.js';

const count = 8;
const hints = {
  ...{ labels: null, layout: null, channelOrder: null, imageMean: null, imageStd: null },
  ...{ imageSize: null, blank: null, logits: null, features: null },
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-own-output-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Imports a head with what stands behind it, ending in `end`. */
async function importing(
  name: string,
  head: { readonly nodes: typeof gemm.nodes; readonly initializers: typeof gemm.initializers },
  behind: typeof gemm.nodes = [],
  more: typeof gemm.initializers = [],
) {
  const path = join(folder, `${name}.onnx`);
  const end = behind.length > 0 ? 'end' : 'out';
  await writeFile(
    path,
    modelFile({
      input: ['batch', 3, 4, 4],
      nodes: [...head.nodes, ...behind],
      initializers: [...head.initializers, ...more],
      outputs: [end],
      metadata: { names: JSON.stringify(Array.from({ length: classes }, (_, c) => `class ${c}`)) },
    }),
  );
  const random = createRandom(name);
  const check = {
    images: Float32Array.from({ length: count * width }, () => random.uniform()),
    count,
    labels: Int32Array.from({ length: count }, (_, image) => image % classes),
  };
  const operations = await operationsOn('wasm');
  return importOnnx(await describeOnnx(path, hints), check, join(folder, name), { operations });
}

test('logits, and every ending that is read, are what the head makes of the features', async () => {
  await importing('logits', gemm);
  await importing('quantised', quantised);
  for (const ending of ['Softmax', 'LogSoftmax', 'Sigmoid'])
    await importing(ending, gemm, [node(ending, ['out'], ['end'], ending === 'Sigmoid' ? {} : { axis: -1 })]);
});

test('a softmax over something else than all classes of an image is refused', async () => {
  await expect(
    importing('images', gemm, [node('Softmax', ['out'], ['end'], { axis: 0 })]),
  ).rejects.toMatchObject({
    code: 'checkpoint-invalid',
    message: expect.stringMatching(/"end" is not what its last layer makes of its features.*--logits/),
  });
  // Each class a group of its own: all are certain.
  const groups = [
    node('Reshape', ['out', 'apart'], ['groups']),
    node('Softmax', ['groups'], ['shares'], { axis: -1 }),
    node('Reshape', ['shares', 'together'], ['end']),
  ];
  const shapes = [
    integers('apart', [3], BigInt64Array.of(-1n, BigInt(classes), 1n)),
    integers('together', [2], BigInt64Array.of(-1n, BigInt(classes))),
  ];
  await expect(importing('groups', gemm, groups, shapes)).rejects.toMatchObject({
    code: 'checkpoint-invalid',
  });
});
