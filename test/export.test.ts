import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
} from 'onnx-buf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { imageBatches } from '../src/data/batches.js';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { loadStudent } from '../src/distillation/student.js';
import { openTeachers } from '../src/distillation/teachers.js';
import { loadEnsemble } from '../src/ensemble/load-ensemble.js';
import type { ImageBatch } from '../src/models/classifier.js';
import { wholeModel } from '../src/models/onnx/constants.js';
import { readOnnxModel } from '../src/models/onnx/model-file.js';
import { openSession } from '../src/models/onnx/runtime.js';
import { readSafetensors } from '../src/models/safetensors.js';
import { jsonOf, kdSpec, schemaOf } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const workspace = () => join(folder, 'kd-workspace');
const partition = ['--clusters', '3', '--specialists', 'none', '--size', 'none'];

async function calibrated(...flags: readonly string[]): Promise<void> {
  const { code, stderr } = await kdSpec(['calibrate', '--no-select', ...flags, '--json'], { folder });
  expect(code, stderr).toBe(0);
}

async function exported(...flags: readonly string[]) {
  const output = jsonOf(await kdSpec(['export', '--out', 'ensemble.onnx', ...flags, '--json'], { folder }));
  const schema = JSON.parse(await readFile(join(packageFolder(), 'docs', 'schemas', 'export.json'), 'utf8'));
  expect(z.fromJSONSchema(schema).parse(output)).toEqual(output);
  return output;
}

const file = () => join(folder, 'ensemble.onnx');

async function someImages(count: number): Promise<ImageBatch> {
  const { splits, image } = await openDataset(join(workspace(), 'dataset'));
  for await (const batch of imageBatches(splits.test, image, { batchSize: count })) return batch;
  throw new Error('no images');
}

/** The greatest difference of a probability between the exported file and the workspace's ensemble. */
async function greatestDifference(batchSize: number): Promise<number> {
  const [own, found] = [await loadEnsemble(workspace(), { backend: 'wasm' }), await loadEnsemble(file())];
  const batch = await someImages(batchSize);
  const [expected, actual] = [await own.probabilities(batch), await found.probabilities(batch)];
  expect(found.classes).toEqual(own.classes);
  expect(found.input).toEqual(own.input);
  own.dispose();
  found.dispose();
  return expected.reduce((most, value, at) => Math.max(most, Math.abs(value - actual[at])), 0);
}

// Subsets that share classes, and generalists of others: test/slow/exported.test.ts.
test.each(['combine', 'share-inside', 'paper'])(
  'under the rule %s, the file, opened by its path, predicts what the ensemble predicts',
  async (rule) => {
    await calibrated('--rule', rule, ...partition);
    const output = await exported();
    expect(output).toMatchObject({ inputs: ['images'], outputs: ['probabilities', 'generalist'], rule });
    expect(output.maxDifference).toBeLessThan(1e-4);
    for (const batchSize of [1, 64]) expect(await greatestDifference(batchSize)).toBeLessThan(1e-4);
  },
);

test('a trace names the specialists, and infer says of the file what it says of the workspace', async () => {
  await calibrated('--rule', 'combine', ...partition);
  await exported('--trace');
  const { splits } = await openDataset(join(workspace(), 'dataset'));
  const pictures: string[] = [];
  for await (const { bytes } of examples(splits.test)) {
    pictures.push(`${pictures.length}.png`);
    await writeFile(join(folder, pictures[pictures.length - 1]), bytes);
    if (pictures.length === 4) break;
  }
  const infer = async (...flags: readonly string[]) =>
    jsonOf(await kdSpec(['infer', ...pictures, '--top', '3', ...flags, '--json'], { folder })).images;
  const own = await infer();
  expect(own.some(({ specialists }: { specialists: unknown[] }) => specialists.length > 0)).toBe(true);
  for (const flags of [
    ['--model', 'ensemble.onnx'],
    ['--model', 'ensemble.onnx', '--runtime', 'wasm'],
    ['--runtime', 'onnx'],
  ])
    expectNear(await infer(...flags), own);

  await exported();
  const untraced = ['infer', '0.png', '--model', 'ensemble.onnx'];
  const [image] = jsonOf(await kdSpec([...untraced, '--json'], { folder })).images;
  expect(Object.keys(image)).toEqual(['path', 'generalist', 'ensemble']);
  const { stdout } = await kdSpec(untraced, { folder });
  expect(stdout).toContain('the file does not say which specialists were queried: export it with --trace');
  expect(stdout).not.toContain('no specialist was queried');
});

test('an ensemble as teacher predicts without label noise', async () => {
  const path = join(workspace(), 'ensemble', 'ensemble.json');
  const before = await readFile(path, 'utf8');
  const { classes, image } = await openDataset(join(workspace(), 'dataset'));
  const surroundings = {
    workspace: workspace(),
    backend: 'wasm' as const,
    classes,
    image,
    transferRows: 0,
    transferLabels: async () => undefined,
    note: () => {},
    warn: () => {},
  };
  const batch = await someImages(3);
  try {
    const predicted: Float32Array[] = [];
    for (const [labelNoise, asTeacher] of [
      [0, false],
      [0.3, true],
      [0.3, false],
    ] as const) {
      await writeFile(path, JSON.stringify({ ...JSON.parse(before), labelNoise }));
      const ensemble = asTeacher
        ? await openTeachers(['ensemble'], 'arithmetic', surroundings)
        : await loadEnsemble(workspace(), { backend: 'wasm' });
      predicted.push(await ensemble.probabilities(batch));
      ensemble.dispose();
    }
    const [clean, taught, noisy] = predicted;
    expect(taught).toEqual(clean);
    for (const [at, q] of clean.entries()) expect(noisy[at]).toBeCloseTo(0.7 * q + 0.3 / classes.length, 5);
  } finally {
    await writeFile(path, before);
  }
});

test('where no specialist was queried, infer tells what the temperature did, and a card that none was kept', async () => {
  const path = join(workspace(), 'ensemble', 'ensemble.json');
  const before = await readFile(path, 'utf8');
  const { specialists, ...settings } = JSON.parse(before);
  const none = specialists.map((one: object) => ({ ...one, kept: false }));
  const infer = async (...flags: readonly string[]) =>
    (await kdSpec(['infer', '0.png', ...flags], { folder })).stdout.trimEnd().split('\n').at(-1);
  try {
    const noise =
      '2.00% of the probability is spread over all classes, since as many labels are taken to be noise';
    for (const [temperature, labelNoise, expected] of [
      [0.32, 0, "no specialist was queried; the ensemble's temperature of 0.32 makes the generalist surer"],
      [
        2.5,
        0,
        "no specialist was queried; the ensemble's temperature of 2.50 makes the generalist less sure",
      ],
      [1, 0, 'the model has no specialists'],
      [1, 0.02, `no specialist was queried; ${noise}`],
      [
        0.32,
        0.02,
        `no specialist was queried; the ensemble's temperature of 0.32 makes the generalist surer, and ${noise}`,
      ],
    ] as const) {
      const changed = { ...settings, generalistTemperature: temperature, labelNoise, specialists: none };
      await writeFile(path, JSON.stringify(changed));
      await exported();
      for (const flags of [[], ['--runtime', 'onnx'], ['--model', 'ensemble.onnx']])
        expect([flags, await infer(...flags)]).toEqual([flags, expected]);
      if (temperature !== 2.5) continue;
      const { proto } = await readOnnxModel(file());
      const metadataProps = proto.metadataProps.map(({ key, value }) =>
        create(StringStringEntryProtoSchema, {
          key,
          value: value.replace('"generalistTemperature":2.5,', ''),
        }),
      );
      const old = create(ModelProtoSchema, { ...proto, metadataProps }); // as earlier versions wrote it
      await writeFile(join(folder, 'old.onnx'), toBinary(ModelProtoSchema, old));
      expect(await infer('--model', 'old.onnx')).toBe('no specialist was queried');
    }
    const one = specialists.map((each: object, position: number) => ({ ...each, kept: position === 0 }));
    await writeFile(path, JSON.stringify({ ...settings, specialists: one }));
    const tensors = ['export', '--format', 'safetensors', '--out', 'one.safetensors', '--json'];
    const counted = jsonOf(await kdSpec(tensors, { folder }));
    expect(counted).toMatchObject({ specialists: 1, storedSpecialists: specialists.length });
    expect((await schemaOf('export')).parse(counted)).toEqual(counted);
    await writeFile(path, JSON.stringify({ ...settings, specialists: none }));
    const hub = ['export', '--format', 'hf', '--out', 'alone', '--json'];
    expect(jsonOf(await kdSpec(hub, { folder }))).toMatchObject({ specialists: 0 });
    const card = await readFile(join(folder, 'alone', 'README.md'), 'utf8');
    expect(card).toMatch(/a generalist alone, as an ONNX graph\. No specialist was kept: /);
    expect(card).not.toMatch(/0 specialists/);
  } finally {
    await writeFile(path, before);
  }
});

/** The same values, numbers within rounding. */
function expectNear(actual: unknown, expected: unknown): void {
  if (typeof expected === 'number' && typeof actual === 'number') {
    expect(Math.abs(actual - expected)).toBeLessThan(1e-4);
  } else if (
    typeof expected === 'object' &&
    expected !== null &&
    typeof actual === 'object' &&
    actual !== null
  ) {
    expect(Object.keys(actual)).toEqual(Object.keys(expected));
    const others = new Map(Object.entries(actual));
    for (const [key, value] of Object.entries(expected)) expectNear(others.get(key), value);
  } else {
    expect(actual).toEqual(expected);
  }
}

test('uint8 images in, weights in a second file: the same predictions', async () => {
  await exported('--with-preprocessing', '--external-data');
  expect((await stat(`${file()}.data`)).size).toBeGreaterThan((await stat(file())).size);
  expect(await greatestDifference(64)).toBeLessThan(1e-4);
  const session = await openSession(await wholeModel(await readOnnxModel(file())), { name: 'the file' });
  const { images, count } = await someImages(3);
  const { splits, image } = await openDataset(join(workspace(), 'dataset'));
  expect(splits.test.rows).toBeGreaterThan(count);
  const results = await session.run(
    {
      images: {
        type: 'uint8',
        data: Uint8Array.from(images, (value) => Math.round(255 * value)),
        shape: [count, image.height, image.width, image.channels],
      },
    },
    ['probabilities'],
  );
  session.dispose();
  const found = await loadEnsemble(file());
  expectNear(results.get('probabilities')?.values, await found.probabilities({ images, count }));
  found.dispose();
});

test.each([
  ['fp16', 0.02, 0.75],
  ['int8', 0.1, 0.5],
])('weights in %s make a smaller file, and what they cost is measured', async (weights, most, share) => {
  const whole = await exported();
  const rounded = await exported('--weights', weights);
  expect(rounded.bytes).toBeLessThan(share * whole.bytes);
  expect(rounded.maxDifference).toBeLessThan(most);
  expect(rounded.maxDifference).toBeGreaterThan(whole.maxDifference);
  const { images, ensemble, exported: after } = rounded.validation;
  expect(images).toBeGreaterThan(50);
  expect(Math.abs(ensemble - after)).toBeLessThan(0.1);
});

test.each([
  ['model.data', /over 2 GB, which only the native ONNX Runtime runs: npm .*onnxruntime-node/],
  ['../model.data', /outside the model's folder/],
])('a file over 2 GB, its weights in %s, is left to the native runtime', async (location, message) => {
  await exported();
  const { proto, graph } = await readOnnxModel(file());
  const entries = { location, offset: '0', length: String(3e9) };
  const large = create(TensorProtoSchema, {
    name: 'large',
    dataType: TensorProto_DataType.FLOAT,
    dims: [750_000_000n],
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    ),
  });
  const whole = create(GraphProtoSchema, { ...graph, initializer: [...graph.initializer, large] });
  const path = join(folder, 'large.onnx');
  await writeFile(path, toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...proto, graph: whole })));
  await expect(loadEnsemble(path)).rejects.toThrow(message);
});

test('a folder for hubs says what a program needs, with figures and the licence; weights go by themselves', async () => {
  const words = ['export', '--format', 'hf', '--out', 'hub', '--license', 'apache-2.0', '--json'];
  const { maxDifference, format } = jsonOf(await kdSpec(words, { folder }));
  expect({ format, isNear: maxDifference < 1e-4 }).toEqual({ format: 'hf', isNear: true });
  const read = async (name: string) => readFile(join(folder, 'hub', name), 'utf8');
  const { classes, image } = await openDataset(join(workspace(), 'dataset'));
  const { id2label } = JSON.parse(await read('config.json'));
  expect(classes.map((_, index) => id2label[index])).toEqual(classes);
  const { size, crop_size, image_std } = JSON.parse(await read('preprocessor_config.json'));
  const { height, width } = image;
  expect({ size, crop_size, image_std }).toEqual({
    size: { shortest_edge: height },
    crop_size: { height, width },
    image_std: [1],
  });
  expect(await read('README.md')).toMatch(/license: "apache-2.0"[\s\S]*\| ensemble \| \d+\.\d%/);
  for (const place of ['hub/model.onnx', 'hub']) {
    const ensemble = await loadEnsemble(join(folder, place));
    expect(ensemble.classes).toEqual(classes);
    ensemble.dispose();
  }
  const picture = 'first.png';
  for await (const { bytes } of examples((await openDataset(join(workspace(), 'dataset'))).splits.test)) {
    await writeFile(join(folder, picture), bytes);
    break;
  }
  const infer = async (model: string) =>
    jsonOf(await kdSpec(['infer', picture, '--model', model, '--json'], { folder }));
  expect(await infer('hub')).toEqual(await infer('hub/model.onnx'));
  const { code, stderr } = await kdSpec(['infer', picture, '--model', 'kd-workspace'], { folder });
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/a folder with model.onnx/),
  });

  await kdSpec(['export', '--format', 'safetensors', '--out', 'weights.safetensors'], { folder });
  const tensors = await readSafetensors(join(folder, 'weights.safetensors'));
  const own = await readSafetensors(join(workspace(), 'specialists', '0', 'model.safetensors'));
  expect(tensors.get('specialists.0.head.weights')).toEqual(own.get('head.weights'));
  expect(tensors.get('generalist.head.bias')?.shape).toEqual([classes.length]);
});

test('the student exports, too', async () => {
  await cp(join(workspace(), 'generalist'), join(workspace(), 'student'), { recursive: true }); // one network like another
  const output = await exported('--model', 'student');
  expect(output).toMatchObject({ specialists: 0, outputs: ['probabilities', 'generalist'] });
  const [own, found] = [
    await loadStudent(join(workspace(), 'student'), { backend: 'wasm' }),
    await loadEnsemble(file()),
  ];
  const batch = await someImages(5);
  expectNear(await found.probabilities(batch), await own.probabilities(batch));
  own.dispose();
  found.dispose();
  const { stdout } = await kdSpec(['infer', '0.png', '--model', 'ensemble.onnx', '--top', '1'], { folder });
  expect(stdout).toMatch(/^0\.png\n +prediction\n1 +f\d+\/c\d+ +\S+%\nthe model has no specialists\n$/);

  const traced = ['export', '--model', 'student', '--trace', '--out', 'traced.onnx'];
  expect((await kdSpec(traced, { folder })).stderr).toMatch(/--trace names specialists.*\ncode: usage/);
  const to = async (...words: readonly string[]) =>
    jsonOf(await kdSpec(['export', '--model', 'student', ...words, '--json'], { folder }));
  await to('--format', 'safetensors', '--out', 'student.safetensors');
  const tensors = await readSafetensors(join(folder, 'student.safetensors'));
  expect([...tensors.keys()].every((name) => name.startsWith('generalist.'))).toBe(true);
  await to('--format', 'web', '--out', 'student-page');
  expect((await readdir(join(folder, 'student-page'))).sort()).toContain('model.onnx');
  const page = await readFile(join(folder, 'student-page', 'index.html'), 'utf8');
  expect(page.match(/<th scope="col">\w+/g)).toEqual(['<th scope="col">prediction']);
  await to('--format', 'hf', '--out', 'student-hub');
  const card = await readFile(join(folder, 'student-hub', 'README.md'), 'utf8');
  expect(card).toMatch(/one network that was distilled/);
  expect(card).toMatch(/Not measured/); // the copy is no artefact of distillation
  expect(card).not.toMatch(/ensemble|specialists|rule/);
});

test('what is no export of kd-spec is not written over, and an earlier export is', async () => {
  const to = (...words: readonly string[]) => kdSpec(['export', ...words], { folder });
  await mkdir(join(folder, 'mine'));
  const precious = { 'precious.txt': 'ten years of notes', 'mine/index.html': '<h1>Mine</h1>' };
  for (const [name, text] of Object.entries(precious)) await writeFile(join(folder, name), text);
  const generalist = join('kd-workspace', 'generalist', 'model.safetensors');
  for (const [name, ...words] of [
    ['precious.txt', '--out', 'precious.txt'],
    ['precious.txt', '--out', 'precious.txt', '--format', 'safetensors'],
    ['index.html', '--out', 'mine', '--format', 'web'],
    ['model.safetensors', '--out', generalist, '--format', 'safetensors'],
  ]) {
    const { code, stderr } = await to(...words);
    expect(stderr).toContain(`--out: ${name} in `);
    expect(stderr).toContain('is no export of kd-spec, and would be written over: name another place');
    expect(code).toBe(2);
  }
  for (const [name, text] of Object.entries(precious))
    expect(await readFile(join(folder, name), 'utf8')).toBe(text);
  expect(await readdir(join(folder, 'mine'))).toEqual(['index.html']);

  await writeFile(join(folder, 'empty.onnx'), '');
  for (const [out, format] of [
    ['empty.onnx', 'onnx'],
    ['again.safetensors', 'safetensors'],
    ['again-page', 'web'],
    ['again-hub', 'hf'],
  ])
    for (const time of ['first', 'second']) {
      const { code, stderr } = await to('--out', out, '--format', format);
      expect({ out, time, stderr, code }).toEqual({ out, time, stderr: '', code: 0 });
    }
});

test.each([
  ['safetensors', ['--weights', 'int8'], /^error: --weights is for --format onnx, hf and web; .*in fp32/],
  ['safetensors', ['--weights', 'fp32'], /^error: --weights is for --format onnx, hf and web; .*in fp32/],
  [
    'safetensors',
    ['--trace'],
    /^error: --trace is for --format onnx, hf and web; --format safetensors .*no graph/,
  ],
  ['safetensors', ['--replace-output'], /^error: --replace-output is for --format onnx, hf and web; /],
  ['safetensors', ['--with-preprocessing'], /^error: --with-preprocessing is for --format onnx and hf; /],
  ['safetensors', ['--license', 'mit'], /^error: --license is for --format hf; .*or take that format$/m],
  [
    'safetensors',
    ['--external-data'],
    /^error: --external-data is for --format onnx; .*or take that format$/m,
  ],
  [
    'onnx',
    ['--license', 'mit'],
    /^error: --license is for --format hf; --format onnx, the default, .*without a card/,
  ],
  [
    'hf',
    ['--external-data'],
    /^error: --external-data is for --format onnx; --format hf .*with its weights inside/,
  ],
  ['web', ['--external-data'], /^error: --external-data is for --format onnx; --format web .*one file/],
  ['web', ['--license', 'mit'], /^error: --license is for --format hf; --format web .*without a card/],
  [
    'web',
    ['--with-preprocessing'],
    /^error: --with-preprocessing is for --format onnx and hf; .*uint8 .*in any case/,
  ],
])('for --format %s a flag that would do nothing is refused before anything is read: %s', async (...args) => {
  const [format, flags, message] = args;
  const words = ['export', '--out', 'none', '--format', format, ...flags, '--workspace', 'nowhere'];
  const { code, stderr, stdout } = await kdSpec(words, { folder });
  expect(stderr).toMatch(message);
  expect(stderr).toContain(`: leave out ${flags[0]}, or take `);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(existsSync(join(folder, 'none'))).toBe(false);
});

test('a flag that stands twice is refused, as neither is meant', async () => {
  const { code, stderr } = await kdSpec(
    ['export', '--out', 'none.onnx', '--weights', 'int8', '--weights', 'fp16'],
    { folder },
  );
  expect(stderr).toContain('--weights was given 2 times: give it once');
  expect(code).toBe(2);
});

test.each([
  [['--specialist-head', 'full'], 'has a full softmax', 'head.bias', [60]],
  [['--retrain', 'all'], 'retrained its convolutions', 'convolutions.0.bias', [8]],
])('weights need no graph: safetensors has those of specialists without one: %s', async (...args) => {
  const [flags, what, tensor, shape] = args;
  const own = await copyOfTiny();
  try {
    const planned = await kdSpec(['train-specialists', ...flags, '--dry-run'], { folder: own });
    expect(planned.stderr).toContain(`${flags.join(' ')} has no form as a graph: `);
    for (const words of [
      ['train-specialists', ...flags],
      ['calibrate', '--no-select'],
    ])
      jsonOf(await kdSpec([...words, '--json'], { folder: own }));
    const refused = await kdSpec(['export', '--out', 'ensemble.onnx'], { folder: own });
    expect(refused.stderr).toContain(
      `${what} (${flags.join(' ')}), which has no form as a graph: ONNX Runtime cannot run it, and kd-spec export writes ` +
        'its weights alone (--format safetensors)',
    );
    expect(existsSync(join(own, 'ensemble.onnx'))).toBe(false);

    const words = ['export', '--format', 'safetensors', '--out', 'weights.safetensors'];
    const output = jsonOf(await kdSpec([...words, '--json'], { folder: own }));
    const schema = JSON.parse(
      await readFile(join(packageFolder(), 'docs', 'schemas', 'export.json'), 'utf8'),
    );
    expect(z.fromJSONSchema(schema).parse(output)).toEqual(output);
    const path = join(own, 'weights.safetensors');
    const ensemble = JSON.parse(
      await readFile(join(own, 'kd-workspace', 'ensemble', 'ensemble.json'), 'utf8'),
    );
    // Nothing is said of inputs, outputs or a comparison: there is no graph.
    expect(output).toEqual({
      file: path,
      format: 'safetensors',
      files: [path],
      classes: 60,
      specialists: 3,
      rule: ensemble.rule,
      weights: 'fp32',
      bytes: (await stat(path)).size,
    });
    const tensors = await readSafetensors(path);
    expect([...tensors.values()].every(({ values }) => values instanceof Float32Array)).toBe(true);
    for (const id of [0, 1, 2]) expect(tensors.get(`specialists.${id}.${tensor}`)?.shape).toEqual(shape);

    const { stdout } = await kdSpec(words, { folder: own });
    expect(stdout).toMatch(
      /^weights +\S+weights\.safetensors, \S+ kB, fp32\nof +the generalist and 3 specialists\n$/,
    );
  } finally {
    await rm(own, { recursive: true, force: true });
  }
});

test('what cannot be done is refused, and nothing is written', async () => {
  const { code, stderr } = await kdSpec(['export', '--out', 'none.onnx', '--replace-output'], { folder });
  expect(stderr).toMatch(/--replace-output is for an imported model/);
  expect(code).toBe(2);
  expect(existsSync(join(folder, 'none.onnx'))).toBe(false);
  expect((await kdSpec(['export'], { folder })).stderr).toMatch(/--out FILE/);
  for (const of of [
    ['export', '--out', 'none.onnx'],
    ['infer', '0.png'],
  ]) {
    const withoutStudent = await kdSpec([...of, '--model', 'student', '--workspace', 'none'], { folder });
    expect(withoutStudent.stderr).toMatch(/no student in .*none: run kd-spec distill first\ncode: not-found/);
  }
  await expect(loadEnsemble(file(), { runtime: 'tensorflow' })).rejects.toMatchObject({
    code: 'option-invalid',
  });
  const words = ['infer', '0.png', '--model', 'nothing.onnx'];
  expect((await kdSpec(words, { folder })).stderr).toMatch(/not-found/);
});
