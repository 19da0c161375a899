import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { createRandom } from '../src/core/random.js';
import { openOnnxClassifier } from '../src/models/onnx/onnx-classifier.js';
import { openSession } from '../src/models/onnx/runtime.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { floats, modelFile, node } from './support/onnx-models.js';

// A stranger's classifier of colours: the mean of each channel, from 0 to 255, blue first, and a linear head on it. It
// knows six classes; there are images of four, and of one that it does not know.
const size = 12;
const colours = {
  red: [0.9, 0.1, 0.1],
  orange: [0.9, 0.5, 0.1],
  green: [0.1, 0.8, 0.2],
  blue: [0.1, 0.2, 0.9],
  purple: [0.6, 0.1, 0.8],
  white: [0.95, 0.95, 0.95],
} as const;
const names = Object.keys(colours);
const pictured = ['blue', 'green', 'orange', 'red'];

/** Nearest mean colour, as a softmax: 2 m·x - |m|², for values from 0 to 255 with blue first. */
function colourModel(): Uint8Array {
  const means = Object.values(colours).map((rgb) => [...rgb].reverse().map((value) => 255 * value));
  const sharpness = 16 / 255 ** 2;
  const weights = Float32Array.from({ length: 3 * names.length }, (_, at) => {
    const channel = Math.floor(at / names.length);
    return 2 * sharpness * means[at % names.length][channel];
  });
  const bias = Float32Array.from(
    means,
    (mean) => -sharpness * mean.reduce((sum, value) => sum + value * value, 0),
  );
  return modelFile({
    input: ['batch', 3, size, size],
    nodes: [
      node('GlobalAveragePool', ['image'], ['pooled']),
      node('Flatten', ['pooled'], ['features']),
      node('Gemm', ['features', 'w', 'b'], ['logits']),
      node('Softmax', ['logits'], ['probabilities'], { axis: -1 }),
    ],
    initializers: [floats('w', [3, names.length], weights), floats('b', [names.length], bias)],
    outputs: ['probabilities'],
    metadata: { names: JSON.stringify(names) },
  });
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-import-'));
  await writeFile(join(folder, 'model.onnx'), colourModel());
  for (const name of [...pictured, 'mauve']) {
    await mkdir(join(folder, 'photos', name), { recursive: true });
    const rgb =
      name === 'mauve' ? colours.purple : (Object.entries(colours).find(([one]) => one === name)?.[1] ?? []);
    for (let index = 0; index < 30; index++) {
      const random = createRandom(name, index);
      const shift = rgb.map(() => 0.18 * random.normal());
      const pixels = Uint8Array.from({ length: size * size * 3 }, (_, at) =>
        Math.max(0, Math.min(255, 255 * (rgb[at % 3] + shift[at % 3]) + 20 * random.normal())),
      );
      await sharp(pixels, { raw: { width: size, height: size, channels: 3 } })
        .png()
        .toFile(join(folder, 'photos', name, `${index}.png`));
    }
  }
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const artefact = async (path: string) =>
  JSON.parse(await readFile(join(folder, 'kd-workspace', path), 'utf8'));

test('import finds the head, the classes and how the images are fed, and tries them', async () => {
  const output = jsonOf(
    await kdSpec(['import', '--onnx', 'model.onnx', '--source', 'photos', '--json'], { folder }),
  );
  const schema = JSON.parse(await readFile(join(packageFolder(), 'docs', 'schemas', 'import.json'), 'utf8'));
  expect(z.fromJSONSchema(schema).parse(output)).toEqual(output);
  expect(output).toMatchObject({
    classes: 6,
    features: 3,
    featureTensor: 'features',
    logits: 'probabilities',
    outputHolds: 'probabilities',
    blank: null,
    input: {
      layout: 'channels-first',
      shape: [size, size, 3],
      order: 'bgr',
      mean: [0, 0, 0],
      std: [1 / 255, 1 / 255, 1 / 255],
    },
  });
  const [best, second] = output.check.readings;
  expect(best.top1).toBeGreaterThan(0.7);
  expect(best.top1).toBeGreaterThan(second.top1);
  const { leftOut } = await artefact('dataset/import.json');
  expect(JSON.stringify(leftOut)).toMatch(/images of 1 classes that the model does not know.*30.*mauve/);
});

test('the imported generalist predicts what the model itself predicts', async () => {
  const classifier = await openOnnxClassifier(join(folder, 'model.onnx'), {
    order: 'bgr',
    mean: [0],
    deviation: [1 / 255],
  });
  const file = join(folder, 'photos', 'red', '0.png');
  const pixels = await sharp(file).raw().toBuffer();
  const own = await classifier.probabilities({
    images: Float32Array.from(pixels, (value) => value / 255),
    count: 1,
  });
  classifier.dispose();
  const ran = await kdSpec(
    [
      'run',
      '--onnx',
      'model.onnx',
      '--source',
      'photos',
      '--clusters',
      '2',
      '--specialist-epochs',
      '2',
      '--json',
    ],
    { folder },
  );
  expect(jsonOf(ran).stages.generalist.status).toBe('up-to-date');
  const { images } = jsonOf(await kdSpec(['infer', '--image', file, '--top', '6', '--json'], { folder }));
  for (const { index, class: name, probability } of images[0].generalist) {
    expect(name).toBe(names[index]);
    expect(probability).toBeCloseTo(own[index], 4);
  }
});

test('specialists are made of classes that have images, and no others', async () => {
  const { subsets } = await artefact('subsets/subsets.json');
  const members = subsets.flatMap(({ classes }: { classes: readonly number[] }) => classes);
  expect(members.map((label: number) => names[label]).sort()).toEqual(pictured);
  expect(
    (await readdir(join(folder, 'kd-workspace', 'specialists'))).filter((name) => /^\d+$/.test(name)),
  ).toHaveLength(2);
});

test('exported, the model keeps its own output and gets the fused distribution beside it', async () => {
  const output = jsonOf(await kdSpec(['export', '--out', 'patched.onnx', '--json'], { folder }));
  // The name is taken by the model's own output.
  expect(output).toMatchObject({
    inputs: ['image'],
    outputs: ['kd_spec_probabilities', 'generalist'],
    classes: 6,
  });
  expect(output.maxDifference).toBeLessThan(1e-4);
  const images = Float32Array.from({ length: 2 * 3 * size * size }, (_, at) => (at * 37) % 256);
  const [before, after] = await Promise.all(
    ['model.onnx', 'patched.onnx'].map(async (name) => {
      const session = await openSession(await readFile(join(folder, name)), { name });
      const results = await session.run(
        { image: { type: 'float32', data: images, shape: [2, 3, size, size] } },
        ['probabilities'],
      );
      session.dispose();
      return results.get('probabilities');
    }),
  );
  expect(before?.shape).toEqual([2, 6]);
  expect(after).toEqual(before);
});

test.each([
  [['--retrain', 'all'], /stay as they are/],
  [['--epochs', '3'], /imported .* and not trained/],
])('what cannot be done with a foreign model is refused: %s', async (words, message) => {
  const { code, stderr } = await kdSpec(['run', '--onnx', 'model.onnx', '--source', 'photos', ...words], {
    folder,
  });
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});

test('without a model there is nothing to import', async () => {
  const { code, stderr } = await kdSpec(['import', '--source', 'photos'], { folder });
  expect(code).toBe(2);
  expect(stderr).toMatch(/--onnx FILE/);
});
