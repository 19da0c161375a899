import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TensorProto_DataType } from 'onnx-buf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOnnxModel } from '../src/models/onnx/model-file.js';
import { openSession } from '../src/models/onnx/runtime.js';
import { jsonOf, kdSpec, schemaOf } from './fixtures/command-line.js';
import { colourModel, colours, size, writePictures } from './support/colour-model.js';

// A model that takes red for orange and purple for blue, whose last layer is refitted before specialists stand on it.
const favours = { orange: 6, blue: 3 };
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-refit-'));
  await writeFile(join(folder, 'model.onnx'), colourModel({ favours }));
  await writeFile(join(folder, 'steps.onnx'), colourModel({ favours, isSequence: true }));
  await writePictures(join(folder, 'warm'), ['red', 'orange', 'green', 'white'], { perLabel: 60 });
  await writePictures(join(folder, 'others'), ['blue', 'purple'], { perLabel: 80 });
  await writePictures(join(folder, 'loose'), ['blue'], { perLabel: 40 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const quick = ['--specialist-epochs', '12', '--min-size', '2', '--clusters', '2', '--views', '2'];
const given = ['--onnx', 'model.onnx', '--source', 'warm', '--bystanders', 'others', ...quick];
const refitted = ['--refit-share', '0.8', '--refit-views', '2'];
const read = (workspace: string, path: string) => readFile(join(folder, workspace, path));
const json = async (workspace: string, path: string) => JSON.parse(String(await read(workspace, path)));

async function run(file: string, outputs: readonly string[]) {
  const session = await openSession(await readFile(join(folder, file)), { name: file });
  const means = Object.values(colours);
  const data = Float32Array.from(
    means.flatMap((rgb) => [...rgb].reverse().flatMap((value) => Array(size * size).fill(255 * value))),
  );
  const image = { type: 'float32', data, shape: [means.length, 3, size, size] } as const;
  const results = await session.run({ image }, outputs);
  session.dispose();
  return outputs.map((name) => results.get(name)?.values ?? new Float32Array());
}

test('the generalist has another last layer, and gain and harm are those of the model as it was', async () => {
  for (const [workspace, more] of [
    ['plain', []],
    ['refitted', refitted],
  ] as const) {
    const words = ['run', ...given, ...more, '--harm', '50%', '--workspace', workspace, '--json'];
    const output = jsonOf(await kdSpec(words, { folder }));
    expect((await schemaOf('run')).parse(output)).toEqual(output);
  }
  expect(await read('refitted', 'generalist/original.safetensors')).toEqual(
    await read('plain', 'generalist/model.safetensors'),
  );
  expect(existsSync(join(folder, 'plain', 'generalist', 'original.safetensors'))).toBe(false);
  const { metrics } = await json('refitted', 'generalist/manifest.json');
  expect(metrics.imported.refit).toMatchObject({ share: 0.8 });
  expect(metrics.imported.refit.after).toBeGreaterThan(metrics.imported.refit.before + 0.05);

  const [plain, report] = await Promise.all(
    ['plain', 'refitted'].map((one) => json(one, 'report/report.json')),
  );
  expect(plain.original).toBeUndefined();
  const { difference, ...before } = report.original;
  const { top1, top1StandardError } = plain.test.generalist;
  expect(before).toEqual({ top1, top1StandardError });
  expect(difference.top1).toBeCloseTo(report.test.ensemble.top1 - top1, 12);
  expect(report.test.generalist.top1).toBeGreaterThan(report.original.top1);
  expect(report.bystanders.generalist).toEqual(plain.bystanders.generalist);
  expect(report.bystanders.harm).toBeCloseTo(
    report.bystanders.generalist.top1 - report.bystanders.ensemble.top1,
    12,
  );
  const page = String(await read('refitted', 'report/index.html'));
  expect(page).toMatch(/Model as it was/);
  expect(page).toMatch(/Generalist, its last layer refitted/);
  const { stdout } = await kdSpec(['evaluate', '--workspace', 'refitted'], { folder });
  expect(stdout).toMatch(/The model as it was, before its last layer was refitted: \d/);
});

test('calibration bounds the harm to bystanders against the model as it was, with labels or without', async () => {
  const harmOf = async (workspace: string, more: readonly string[]) => {
    const words = ['calibrate', ...more, '--workspace', workspace, '--no-calibrate', '--no-select'];
    await kdSpec([...words, '--rule', 'share-inside', '--json'], { folder }).then(jsonOf);
    return (await json(workspace, 'ensemble/ensemble.json')).bystanders;
  };
  const labelled = await harmOf('refitted', ['--harm', '100%']);
  const unlabelled = await harmOf('unlabelled', [
    ...given.map((word) => (word === 'others' ? 'loose' : word)),
    ...refitted,
    '--harm',
    '100%',
  ]);
  expect(labelled.examples).toBeGreaterThan(10);
  // A refit on warm colours alone changes what the model makes of the others.
  expect(Math.abs(labelled.harm)).toBeGreaterThan(0);
  expect(unlabelled.harm).toBeGreaterThanOrEqual(0);
});

test('rivals begin with the last layer of the model as it was', async () => {
  const compared = async (workspace: string) =>
    jsonOf(await kdSpec(['rivals', '--workspace', workspace, '--json'], { folder }));
  const plain = await compared('plain');
  const report = await compared('refitted');
  type Rival = { readonly name: string; readonly best: object };
  const trained = ({ rivals }: { readonly rivals: readonly Rival[] }) =>
    rivals.flatMap(({ name, best }) => (name === 'ensemble' ? [] : [{ name, best }]));
  expect(trained(report)).toEqual(trained(plain));
  expect(report.test).toEqual(plain.test);
  expect(report.bystanders.top1).toBe(plain.bystanders.top1);
});

test('an exported file keeps the outputs of the model as they were, and fuses on the refitted layer', async () => {
  const words = ['export', '--workspace', 'refitted', '--out', 'exported.onnx', '--json'];
  expect(jsonOf(await kdSpec(words, { folder })).maxDifference).toBeLessThan(1e-4);
  const [own] = await run('model.onnx', ['probabilities']);
  const [kept, generalist] = await run('exported.onnx', ['probabilities', 'generalist']);
  expect(kept).toEqual(own);
  const moved = generalist.map((value, at) => Math.abs(value - own[at]));
  expect(Math.max(...moved)).toBeGreaterThan(0.05);
});

test.each([
  ['model.onnx', []],
  ['steps.onnx', ['--replace-output', '--blank', '0']],
])('patch %s with a refitted layer says what the model gets as it was', async (file, more) => {
  const words = ['patch', file, '--images', 'warm', '--bystanders', 'others', ...quick, ...more];
  const patched = async (name: string, others: readonly string[]) => {
    const place = ['--out', `${name}-${file}`, '--workspace', `patch-${name}-${file}`];
    const bound = ['--harm', '50%', '--with-rivals=false', '--json'];
    return jsonOf(await kdSpec([...words, ...others, ...place, ...bound], { folder }));
  };
  const plain = await patched('plain', []);
  const output = await patched('refitted', refitted);
  expect(output.before).toEqual(plain.before);
  expect(output.after.top1).toBeGreaterThan(output.before.top1 + 0.05);
});

test('of a sequence recogniser, neighbours rank the colours of every step again beside the blank', async () => {
  const place = ['--workspace', 'patch-plain-steps.onnx', '--json'];
  jsonOf(await kdSpec(['rivals', '--rival-epochs', '1', ...place], { folder }));
  const words = ['export', '--refit', 'neighbours', '--out', 'near-steps.onnx', ...place];
  const output = jsonOf(await kdSpec(words, { folder }));
  expect(output.images).toBeGreaterThan(10);
  expect(output.maxDifference).toBeLessThan(1e-4);
  const [own] = await run('steps.onnx', ['probabilities']);
  const [near] = await run('near-steps.onnx', ['probabilities']);
  const columns = 1 + Object.keys(colours).length;
  for (let at = 0; at < own.length; at += columns) {
    expect(near[at]).toBeCloseTo(own[at], 5);
    expect(near.subarray(at, at + columns).reduce((sum, one) => sum + one)).toBeCloseTo(1, 5);
  }
  expect(near.some((value, at) => Math.abs(value - own[at]) > 0.05)).toBe(true);
});

test('a file with a refitted layer is patched again on the model as it was, whose distribution it then has, too', async () => {
  await writePictures(join(folder, 'cold'), ['blue', 'purple', 'green', 'white'], { perLabel: 60 });
  const place = ['--workspace', 'twice', '--json'];
  const words = ['calibrate', '--onnx', 'refitted-model.onnx', '--source', 'cold', '--no-select', ...quick];
  jsonOf(await kdSpec([...words, ...place], { folder }));
  jsonOf(await kdSpec(['export', '--out', 'twice.onnx', ...place], { folder }));
  const [own] = await run('model.onnx', ['probabilities']);
  const { metadata } = await readOnnxModel(join(folder, 'twice.onnx'));
  const { generalist } = JSON.parse(metadata.get('kd_spec_ensemble') ?? '{}');
  const [kept, first, second] = await run('twice.onnx', ['probabilities', 'generalist', generalist]);
  expect(kept).toEqual(own);
  expect(first.some((value, at) => Math.abs(value - own[at]) > 0.05)).toBe(true);
  for (const [at, value] of second.entries()) expect(value).toBeCloseTo(own[at], 5);
});

test('weights of 8 bits are those of the refitted layer, too', async () => {
  const words = ['export', '--workspace', 'refitted', '--out', 'small.onnx', '--weights', 'int8', '--json'];
  jsonOf(await kdSpec(words, { folder }));
  const layersOf8Bits = async (file: string) =>
    [...(await readOnnxModel(join(folder, file))).initializers.values()].filter(
      ({ dataType, dims }) => dataType === TensorProto_DataType.INT8 && dims.join() === '3,6',
    );
  expect(await layersOf8Bits('exported.onnx')).toHaveLength(0);
  expect(await layersOf8Bits('small.onnx')).toHaveLength(1);
});

test('without bystanders, the plan says that nothing measures what the layer costs others', async () => {
  const words = ['run', '--onnx', 'model.onnx', '--source', 'warm', ...quick, ...refitted, '--dry-run'];
  const { code, stderr } = await kdSpec([...words, '--workspace', 'unmeasured'], { folder });
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /--refit-share changes the last layer for classes without images, too, and no bystanders/,
  );
});

test('without the share, the model is again as it came', async () => {
  const words = ['train-generalist', '--workspace', 'refitted', '--refit-share', '0', '--json'];
  jsonOf(await kdSpec(words, { folder }));
  expect(existsSync(join(folder, 'refitted', 'generalist', 'original.safetensors'))).toBe(false);
  expect(await read('refitted', 'generalist/model.safetensors')).toEqual(
    await read('plain', 'generalist/model.safetensors'),
  );
});

test('what has no layer to refit, or one that specialists are calibrated for, is refused', async () => {
  const refused = async (words: readonly string[]) => {
    const { code, stderr } = await kdSpec(words, { folder });
    expect(code).toBe(2);
    return stderr;
  };
  const place = ['--workspace', 'refused'];
  expect(await refused(['run', '--source', 'warm', '--refit-share', '0.8', ...place])).toMatch(
    /--refit-share would do nothing: it refits the last layer of an imported model/,
  );
  expect(await refused(['run', ...given, ...refitted, '--risk', '5%', ...place])).toMatch(
    /--risk shows that specialists are better than what they stand on/,
  );
  expect(await refused(['run', ...given, '--refit-views', '2', ...place])).toMatch(
    /--refit-views would do nothing: no layer is refitted/,
  );
  const again = [
    'patch',
    'refitted-model.onnx',
    '--images',
    'warm',
    '--out',
    'again.onnx',
    ...refitted,
    ...place,
  ];
  expect(await refused(again)).toMatch(/patched before: patch the model itself, or leave it out/);
  expect(existsSync(join(folder, 'refused'))).toBe(false);
});
