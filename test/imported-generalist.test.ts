import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, ValueInfoProtoSchema } from 'onnx-buf';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { openOnnxClassifier } from '../src/models/onnx/onnx-classifier.js';
import { openSession } from '../src/models/onnx/runtime.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { colourModel, colourNames, size, writePictures } from './support/colour-model.js';
import { floats, node } from './support/onnx-models.js';

// The stranger's classifier knows six colours; there are images of four, and of one that it does not know.
const names = colourNames;
const pictured = ['blue', 'green', 'orange', 'red'];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-import-'));
  await writeFile(join(folder, 'model.onnx'), colourModel());
  await writePictures(join(folder, 'photos'), [...pictured, 'mauve'], {
    colourOf: (label) => (label === 'mauve' ? 'purple' : label),
  });
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
  expect(output.check.examples).toBe(0.9 * 30 * pictured.length); // few are for validation, so training's count, too
  const [best, second] = output.check.readings;
  expect(best.top1).toBeGreaterThan(0.7);
  expect(best.top1).toBeGreaterThan(second.top1);
  const { leftOut, notes } = await artefact('dataset/import.json');
  expect(JSON.stringify(leftOut)).toMatch(/images of 1 classes that the model does not know.*30.*mauve/);
  expect(JSON.stringify(leftOut)).not.toMatch(/without a training image/);
  expect(JSON.stringify(notes)).toMatch(/without a training image, which stay as the model has them/);
});

/** The model with another last layer on the same features, whose logits are all 0, as its first output. */
function withIdleHead(): Uint8Array {
  const model = fromBinary(ModelProtoSchema, colourModel());
  const { graph } = model;
  const [output] = graph?.output ?? [];
  graph?.initializer.push(floats('v', [3, 6], new Float32Array(18)), floats('c', [6], new Float32Array(6)));
  graph?.node.push(node('Gemm', ['features', 'v', 'c'], ['aux']));
  graph?.output.unshift(create(ValueInfoProtoSchema, { ...output, name: 'aux' }));
  return toBinary(ModelProtoSchema, model);
}

test('of two last layers on the same features none is taken unless --logits says which', async () => {
  await writeFile(join(folder, 'two.onnx'), withIdleHead());
  const words = ['import', '--onnx', 'two.onnx', '--source', 'photos', '--workspace', 'two', '--json'];
  const { code, stderr } = await kdSpec(words, { folder });
  expect(code).toBe(1);
  expect(stderr).toMatch(/"aux" of 6 classes, "probabilities" of 6 classes\): say which with --logits NAME/);
  const said = await kdSpec([...words, '--logits', 'probabilities'], { folder });
  expect(jsonOf(said).check.top1).toBeGreaterThan(0.7);
});

test('a model at chance and a file beside it that is not read are warned of, under --quiet, too', async () => {
  await mkdir(join(folder, 'beside'));
  await writeFile(join(folder, 'beside', 'model.onnx'), withIdleHead());
  await writeFile(join(folder, 'beside', 'preprocessor_config.json'), '{');
  const words = ['--onnx', 'beside/model.onnx', '--logits', 'aux', '--workspace', 'aux', '--quiet'];
  const { code, stderr } = await kdSpec(['import', ...words, '--source', 'photos'], { folder });
  expect(code).toBe(0);
  expect(stderr).toMatch(/warning: .*preprocessor_config\.json is not JSON and was not used/);
  expect(stderr).toMatch(/warning: the model gets .* not clearly more than chance would .*--logits/);
});

test('what is assumed of a model is said once', async () => {
  const names = colourNames.map((name, index) => `${index} ${name}`);
  await writeFile(join(folder, 'numbered.txt'), names.join('\n'));
  const words = ['import', '--onnx', 'model.onnx', '--labels', 'numbered.txt', '--source', 'photos'];
  const said = async () => {
    const { code, stderr } = await kdSpec([...words, '--workspace', 'numbered'], { folder });
    expect(code).toBe(0);
    return stderr.match(/the number before each name/g)?.length ?? 0;
  };
  expect(await said()).toBe(1);
  expect(await said()).toBe(0); // everything is up to date
});

test('folders numbered from 1 are the outputs of a model without names, as bystanders with the last number show', async () => {
  const numbered = (numbers: readonly string[], to: string) =>
    writePictures(join(folder, to), numbers, { colourOf: (number) => names[Number(number) - 1] });
  await numbered(['1', '2', '3', '4'], 'from-1');
  await numbered(['5', '6'], 'others-from-1');
  await writeFile(join(folder, 'indices.txt'), '0\n1\n2\n3\n4\n5\n');
  const words = ['import', '--onnx', 'model.onnx', '--labels', 'indices.txt', '--source', 'from-1'];
  const more = ['--bystanders', 'others-from-1', '--workspace', 'numbers', '--json'];
  const ran = await kdSpec([...words, ...more], { folder });
  expect(jsonOf(ran).check.top1).toBeGreaterThan(0.7);
  expect(ran.stderr.match(/warning: .*numbers that count from 1, as 6 occurs/g)).toHaveLength(1);
  const manifest = await readFile(join(folder, 'numbers', 'dataset', 'manifest.json'), 'utf8');
  expect(JSON.parse(manifest).metrics.bystanders.classes).toBe(2);
});

test.each([
  ['0', { kind: 'none' }],
  ['0.5', { kind: 'degrade', strength: 0.5 }],
])('views of imported images are degraded as --strength %s says', async (strength, augmentation) => {
  const words = [
    'dataset',
    '--source',
    'photos',
    '--strength',
    strength,
    '--workspace',
    `strength-${strength}`,
  ];
  expect((await kdSpec(words, { folder })).code).toBe(0);
  const path = join(folder, `strength-${strength}`, 'dataset', 'kd-spec.json');
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ augmentation });
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

  const weights = await kdSpec(['export', '--format', 'safetensors', '--out', 'w.safetensors'], { folder });
  expect(weights.stdout).toMatch(
    /\nwithout +the imported model below the last layer, which its own file has\n/,
  );
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
