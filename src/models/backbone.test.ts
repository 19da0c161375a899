import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { smallNetwork } from '../../test/support/dissenting-specialists.js';
import { floats, integers, modelFile, node } from '../../test/support/onnx-models.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import type { Backbone } from './backbone.js';
import { type ImageBatch, rowOf } from './classifier.js';
import { createNetwork, freshValues, type Network, networkFromTensors } from './network.js';
import { cutNetwork } from './network-backbone.js';
import { networkClassifier } from './network-classifier.js';
import { readOnnxModel } from './onnx/model-file.js';
import { openOnnxBackbone } from './onnx/onnx-backbone.js';

const { operations } = await selectBackend('wasm');
const outputs = 5;
const classes = Array.from({ length: outputs }, (_, c) => `class ${c}`);
const count = 131; // more than goes through a network at once
const random = createRandom('backbones');
const batch: ImageBatch = {
  images: Float32Array.from({ length: count * 64 }, () => random.uniform()),
  count,
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-backbones-'));
  const weights = Float32Array.from({ length: 64 * 12 }, () => random.normal());
  const model = modelFile({
    input: ['batch', 1, 8, 8],
    nodes: [
      node('Flatten', ['image'], ['flat']),
      node('MatMul', ['flat', 'lower'], ['features']),
      node('MatMul', ['features', 'head'], ['logits']),
    ],
    initializers: [
      floats('lower', [64, 12], weights),
      floats('head', [12, outputs], weights.subarray(0, 12 * outputs)),
    ],
    outputs: ['logits'],
  });
  await writeFile(join(folder, 'model.onnx'), model);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ourNetwork = () =>
  createNetwork(operations, smallNetwork({ dense: 6, outputs }), createRandom(1, 'backbone'));

const ofOnnx = async () =>
  openOnnxBackbone(await readOnnxModel(join(folder, 'model.onnx')), {
    kind: 'onnx',
    model: 'model.onnx',
    features: 'features',
    width: 12,
    output: 'logits',
    blank: null,
    input: {
      name: 'image',
      type: 'float32',
      layout: 'channels-first',
      image: { height: 8, width: 8, channels: 1 },
      batch: null,
    },
    reading: { order: 'rgb', normalisation: { name: 'none', mean: [0], deviation: [1] } },
  });

/** A hidden layer and a head on the foreign model's features. */
async function networkOnOnnx(): Promise<Network> {
  const definition = {
    ...smallNetwork({ dense: 6, outputs }),
    input: { height: 1, width: 12, channels: 1 },
    convolutions: [],
  } as const;
  const values = freshValues(definition, createRandom(2, 'backbone'));
  return networkFromTensors(operations, definition, values, await ofOnnx());
}

const kinds: readonly [string, number, () => Promise<Backbone>][] = [
  ['the convolutions of a network', 64, async () => cutNetwork(ourNetwork(), 'dense').backbone],
  ['a network up to its head', 6, async () => cutNetwork(ourNetwork(), 'head').backbone],
  ['an ONNX graph', 12, ofOnnx],
  [
    'what an imported generalist freezes',
    12,
    async () => cutNetwork(await networkOnOnnx(), 'dense').backbone,
  ],
  ['the same with its hidden layer', 6, async () => cutNetwork(await networkOnOnnx(), 'head').backbone],
];

describe.each(kinds)('every backbone keeps to one contract: %s', (_, width, open) => {
  test('features are finite, of the stated width, and the same again, alone and in a batch', async () => {
    const backbone = await open();
    expect(backbone.width).toBe(width);
    const features = await backbone.features(batch);
    expect(features.length).toBe(count * width);
    expect(features.every(Number.isFinite)).toBe(true);
    expect(new Set(features).size).toBeGreaterThan(count);
    const again = await backbone.features(batch);
    expect(again).toEqual(features);
    expect(again.buffer).not.toBe(features.buffer);
    for (const image of [0, 130]) {
      const alone = await backbone.features({ images: rowOf(batch.images, image, 64), count: 1 });
      rowOf(features, image, width).forEach((value, i) => {
        expect(Math.abs(alone[i] - value)).toBeLessThan(1e-4);
      });
    }
    backbone.dispose();
  });

  test('no images have no features; images of another shape, and any after dispose, are refused', async () => {
    const backbone = await open();
    expect(await backbone.features({ images: new Float32Array(), count: 0 })).toEqual(new Float32Array());
    const wrong = { images: new Float32Array(65), count: 1 };
    await expect(backbone.features(wrong)).rejects.toMatchObject({ code: 'image-shape' });
    backbone.dispose();
    backbone.dispose();
    const refusal = { code: 'disposed', message: expect.stringContaining(backbone.name) };
    await expect(backbone.features(batch)).rejects.toMatchObject(refusal);
  });
});

test('a recogniser with its steps before several images is refused, also where as many images run as it has steps', async () => {
  const steps = 4;
  const path = join(folder, 'steps.onnx');
  const model = modelFile({
    input: ['batch', 1, 8, 8],
    nodes: [
      node('Reshape', ['image', 'shape'], ['cut']), // (batch, steps, 16)
      node('Transpose', ['cut'], ['features'], { perm: [1, 0, 2] }),
      node('MatMul', ['features', 'head'], ['logits']),
    ],
    initializers: [
      integers('shape', [3], BigInt64Array.of(-1n, BigInt(steps), 16n)),
      floats(
        'head',
        [16, outputs],
        Float32Array.from({ length: 16 * outputs }, () => random.normal()),
      ),
    ],
    outputs: ['logits'],
  });
  await writeFile(path, model);
  const input = {
    name: 'image',
    type: 'float32',
    layout: 'channels-first',
    image: { height: 8, width: 8, channels: 1 },
    batch: null,
  } as const;
  const reading = { order: 'rgb', normalisation: { name: 'none', mean: [0], deviation: [1] } } as const;
  const cut = {
    kind: 'onnx',
    model: 'steps.onnx',
    features: 'features',
    width: 16,
    output: 'logits',
  } as const;
  for (const images of [2, steps, 7]) {
    const backbone = await openOnnxBackbone(await readOnnxModel(path), { ...cut, blank: 0, input, reading });
    await expect(
      backbone.features({ images: batch.images.subarray(0, images * 64), count: images }),
    ).rejects.toThrow(/steps before them.*export it with the batch first/);
    backbone.dispose();
  }
});

test.each([
  ['our own', async () => ourNetwork()],
  ['an imported one', networkOnOnnx],
] as const)('a generalist is a backbone and the dense layers on it: %s', async (_, open) => {
  const classifier = networkClassifier(await open(), { name: 'the generalist', classes });
  const logits = await classifier.logits(batch);
  classifier.dispose();
  for (const from of ['dense', 'head'] as const) {
    const { backbone, head } = cutNetwork(await open(), from);
    expect(head.classes).toBe(outputs);
    expect(await head.logits(await backbone.features(batch), count)).toEqual(logits);
    backbone.dispose();
  }
});
