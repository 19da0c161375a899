import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { createRandom } from '../src/core/random.js';
import { loadEnsemble } from '../src/ensemble/load-ensemble.js';
import { rivalNames } from '../src/evaluation/rivals/measure-rivals.js';
import { readExportedMetadata } from '../src/models/onnx/exported-metadata.js';
import { readOnnxModel } from '../src/models/onnx/model-file.js';
import { openSession } from '../src/models/onnx/runtime.js';
import type { OutputTensor } from '../src/models/onnx/session.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { colourModel, colourNames, colours, crowd, size, writePictures } from './support/colour-model.js';

// Models that take red for orange and purple for blue.
const favours = { orange: 6, blue: 9 };
const [, ...alternatives] = rivalNames; // the first is the model as it is

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-patch-'));
  await writeFile(join(folder, 'model.onnx'), colourModel({ favours, isCrowded: true }));
  await writeFile(join(folder, 'steps.onnx'), colourModel({ favours, isSequence: true }));
  await writeFile(join(folder, 'one.onnx'), colourModel({ favours, isOne: true }));
  await writePictures(join(folder, 'warm'), ['red', 'orange', 'green', 'white'], { perLabel: 60 });
  await writePictures(join(folder, 'others'), ['blue', 'purple'], { perLabel: 40 });
  await writePictures(join(folder, 'cold'), ['blue', 'purple', 'green', 'white'], { perLabel: 60 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const quick = ['--specialist-epochs', '12', '--min-size', '2', '--clusters', '2', '--views', '2'];

/** The rule under which patches of different classes have nothing to do with one another. */
const inside = ['--rule', 'share-inside'];

/** Rivals take longer than all the rest, and one test compares them. */
const noRivals = ['--with-rivals=false'];

async function patched(words: readonly string[], rivals = noRivals) {
  const output = jsonOf(await kdSpec(['patch', ...words, ...quick, ...rivals, '--json'], { folder }));
  const schema = JSON.parse(await readFile(join(packageFolder(), 'docs', 'schemas', 'patch.json'), 'utf8'));
  expect(z.fromJSONSchema(schema).parse(output)).toEqual(output);
  return output;
}

/** Pictures of colours as the models take them, every other one between two colours; the same at each call. */
function someTensor(count: number) {
  const random = createRandom('pictures');
  const means = Object.values(colours);
  const images = Array.from({ length: count }, (_, row) => {
    const [one, other] = [means[row % means.length], means[(row * 5 + 1) % means.length]];
    const share = row % 2 === 0 ? 0 : random.uniform();
    const bgr = one.map((value, c) => 255 * (value + share * (other[c] - value))).reverse();
    return bgr.flatMap((value) => Array.from({ length: size * size }, () => value + random.normal()));
  });
  return { type: 'float32', data: Float32Array.from(images.flat()), shape: [count, 3, size, size] } as const;
}

async function run(file: string, outputs: readonly string[]): Promise<readonly OutputTensor[]> {
  const session = await openSession(await readFile(join(folder, file)), { name: file });
  const results = await session.run({ image: someTensor(48) }, outputs);
  session.dispose();
  return outputs.map((name) => results.get(name) ?? { values: new Float32Array(), shape: [] });
}

test('one command makes a better file of a model and images, which keeps its outputs', async () => {
  const words = ['--images', 'warm', '--bystanders', 'others', '--harm', '0.2', '--out', 'warm.onnx'];
  const output = await patched(['model.onnx', ...words, ...inside], []);
  expect(output.rivals.map(({ name }: { readonly name: string }) => name)).toEqual(alternatives);
  expect(await readFile(output.report, 'utf8')).toMatch(/<h2>Rivals<\/h2>/);
  expect(output.after.top1).toBeGreaterThan(output.before.top1 + 0.05);
  expect(output).toMatchObject({ classes: 4, earlier: [] });
  expect(output.examples.bystanders).toBeGreaterThan(20);
  expect(output.after.bystanders).toBeGreaterThan(output.before.bystanders - 0.1);
  expect(existsSync(output.report)).toBe(true);
  const own = ['probabilities', ...crowd];
  expect(await run('warm.onnx', own)).toEqual(await run('model.onnx', own));
  const { graph } = await readOnnxModel(join(folder, 'warm.onnx'));
  expect(graph.output.map(({ name }) => name)).toEqual([
    ...own,
    'kd_spec_probabilities',
    'kd_spec_generalist', // the name without it is that of weights
  ]);

  const ensemble = await loadEnsemble(join(folder, 'warm.onnx'));
  expect(ensemble.classes).toEqual(colourNames);
  expect(ensemble.input).toMatchObject({ image: { height: size, width: size, channels: 3 } });
  ensemble.dispose();
});

test('a patched file is patched again: the first specialists stay byte for byte, and both show', async () => {
  // Exported anew, the first patch says what it did, too, and names its specialists.
  jsonOf(await kdSpec(['export', '--trace', '--out', 'traced.onnx', '--json'], { folder }));
  const output = await patched(['traced.onnx', '--images', 'cold', '--out', 'both.onnx', ...inside]);
  expect(output.after.top1).toBeGreaterThan(output.before.top1 + 0.1);
  const [plain, once, twice] = await Promise.all(
    ['warm.onnx', 'traced.onnx', 'both.onnx'].map((name) => readOnnxModel(join(folder, name))),
  );
  const [ofPlain, ofOnce, ofTwice] = [plain, once, twice].map(readExportedMetadata);
  expect(ofPlain?.patches).toHaveLength(1);
  expect(output.earlier).toEqual(ofPlain?.patches);
  expect(ofOnce).toEqual({ ...ofPlain, traces: ofOnce?.traces });
  for (const [name, { rawData, dims, dataType }] of once.initializers)
    expect(twice.initializers.get(name)).toMatchObject({ rawData, dims, dataType });
  const [named, namedTwice] = [once, twice].map(({ graph }) => graph.output.map(({ name }) => name));
  expect(namedTwice).toEqual([...named, 'specialist_ids_2', 'specialist_probabilities_2']);
  const queried = [ofTwice?.traces ?? []].flat().map(({ specialists }) => specialists.length);
  expect(queried).toEqual([ofPlain?.specialists, output.specialists]);

  // What the second patch does to the colours of the first is nothing, and the other way round.
  const outputs = ['kd_spec_probabilities'];
  const [[first], [both]] = [await run('traced.onnx', outputs), await run('both.onnx', outputs)];
  const [red, orange, blue, purple] = ['red', 'orange', 'blue', 'purple'].map((name) =>
    colourNames.indexOf(name),
  );
  let moved = 0;
  for (let row = 0; row < 48; row++) {
    const at = (tensor: OutputTensor, c: number) => tensor.values[row * colourNames.length + c];
    for (const c of [red, orange]) expect(at(both, c)).toBeCloseTo(at(first, c), 5);
    expect(at(both, blue) + at(both, purple)).toBeCloseTo(at(first, blue) + at(first, purple), 5);
    moved = Math.max(moved, Math.abs(at(both, blue) - at(first, blue)));
  }
  expect(moved).toBeGreaterThan(0.1);

  // The workspace predicts what the file predicts, and writes it again.
  const again = await kdSpec(['export', '--out', 'again.onnx', '--json'], { folder });
  expect(jsonOf(again).maxDifference).toBeLessThan(1e-4);
  const [[written]] = [await run('again.onnx', outputs)];
  for (const [at, value] of both.values.entries()) expect(written.values[at]).toBeCloseTo(value, 5);
  // Calibrated otherwise it is another ensemble, which nobody measured; then the same again.
  const exported = async (rule: string) => {
    jsonOf(await kdSpec(['calibrate', '--rule', rule, '--json'], { folder }));
    jsonOf(await kdSpec(['export', '--out', 'again.onnx', '--json'], { folder }));
    return readExportedMetadata(await readOnnxModel(join(folder, 'again.onnx')))?.patches;
  };
  expect(await exported('combine')).toEqual(output.earlier);
  expect(await exported('share-inside')).toEqual(ofTwice?.patches);
});

test('of a recogniser of steps the output is replaced at every step, and its blanks stay', async () => {
  await patched(['steps.onnx', '--images', 'warm', '--out', 'replaced.onnx', '--replace-output']);
  const outputs = ['probabilities', 'kd_spec_probabilities', 'generalist'];
  const [[before], [after, fused, generalist]] = [
    await run('steps.onnx', ['probabilities']),
    await run('replaced.onnx', outputs),
  ];
  expect(after.shape).toEqual([48, 3, 7]);
  const width = colourNames.length;
  let moved = 0;
  for (let row = 0; row < 48; row++) {
    let least = 0;
    for (let step = 0; step < 3; step++) {
      const from = (row * 3 + step) * 7;
      const [old, now] = [before, after].map(({ values }) => values.subarray(from, from + 7));
      expect(now[0]).toBeCloseTo(old[0], 5);
      expect(now.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 4);
      if (old[0] < before.values[(row * 3 + least) * 7]) least = step;
    }
    const from = (row * 3 + least) * 7;
    for (let c = 0; c < width; c++) {
      const here = row * width + c;
      expect(after.values[from + 1 + c]).toBeCloseTo(fused.values[here] * (1 - after.values[from]), 4);
      moved = Math.max(moved, Math.abs(fused.values[here] - generalist.values[here]));
    }
  }
  expect(moved).toBeGreaterThan(0.1);
});

test('a recogniser of one image, its steps before the batch, is patched as one of (batch, steps, classes) is', async () => {
  await patched([
    'one.onnx',
    '--blank',
    '0',
    '--images',
    'warm',
    '--out',
    'one-patched.onnx',
    '--workspace',
    'one-kd',
    '--replace-output',
  ]);
  const outputs = ['probabilities', 'kd_spec_probabilities'];
  const [own, fused] = await run('replaced.onnx', outputs);
  const session = await openSession(await readFile(join(folder, 'one-patched.onnx')), { name: 'one' });
  const { data } = someTensor(48);
  const pixels = data.length / 48;
  for (let row = 0; row < 48; row++) {
    const image = {
      type: 'float32',
      data: data.slice(row * pixels, (row + 1) * pixels),
      shape: [1, 3, size, size],
    } as const;
    const results = await session.run({ image }, outputs);
    expect(results.get('probabilities')?.shape).toEqual([3, 1, 7]);
    for (const [name, { values }] of [
      ['probabilities', own],
      ['kd_spec_probabilities', fused],
    ] as const) {
      const found = results.get(name)?.values ?? new Float32Array();
      expect(found.length).toBe(values.length / 48);
      for (const [at, value] of found.entries())
        expect(value).toBeCloseTo(values[row * found.length + at], 4);
    }
  }
  session.dispose();
});

test('where every class has images, nothing is said of classes that nothing measured', async () => {
  await writePictures(join(folder, 'all'), colourNames, { perLabel: 40 });
  const texts = [];
  for (const images of ['all', 'warm']) {
    const place = ['--images', images, '--out', `${images}-text.onnx`, '--workspace', `${images}-text`];
    const rivals = images === 'all' ? noRivals : [];
    texts.push(await kdSpec(['patch', 'model.onnx', ...place, ...quick, ...inside, ...rivals], { folder }));
  }
  expect(texts.map(({ code, stderr }) => (code === 0 ? '' : stderr))).toEqual(['', '']);
  const [ofAll, ofSome] = texts.map(({ stdout }) => stdout);
  expect(ofAll).toMatch(/6 classes with images/);
  expect(ofAll).not.toMatch(/without images/);
  expect(ofSome).toMatch(/nothing measured the 2 classes without images/);
  expect(ofAll).toMatch(/rivals were not compared: kd-spec rivals does it/);
  for (const name of alternatives) expect(ofSome).toMatch(new RegExp(`^${name} +\\d+\\.\\d%$`, 'm'));
  expect(ofSome).toMatch(/^(No rival|A rival) .*the specialists/m);
});

test('a file that is no better is not written', async () => {
  await writeFile(join(folder, 'good.onnx'), colourModel());
  const words = [
    'patch',
    'good.onnx',
    '--images',
    'warm',
    '--out',
    'worse.onnx',
    ...quick,
    '--selection-errors',
    '9',
    '--with-rivals', // the workspace remembers that they were not wanted
  ];
  const { code, stderr } = await kdSpec(words, { folder });
  expect(stderr).toMatch(/patch-refused/);
  expect(stderr).toMatch(/nothing was written\. .*(rival|specialists)/i); // what else could be done was measured
  const report = /^report: (\S+)$/m.exec(stderr)?.[1] ?? 'none';
  expect(await readFile(join(folder, report), 'utf8')).toMatch(/<html/i);
  expect(code).toBe(1);
  expect(existsSync(join(folder, 'worse.onnx'))).toBe(false);
});

test('where bystanders for the test lose more than allowed, a stricter bound is calibrated for', async () => {
  // Those for fitting are far from red, those for the test less.
  await writePictures(join(folder, 'shifted', 'train'), ['blue'], { perLabel: 600 });
  await writePictures(join(folder, 'shifted', 'test'), ['blue'], {
    perLabel: 300,
    colourOf: () => 'purple',
  });
  const place = ['--images', 'warm', '--out', 'shifted.onnx', '--workspace', 'shifted-kd'];
  const words = [...place, '--bystanders', 'shifted', '--harm', '1%'];
  const output = await patched(['model.onnx', ...words, '--specialist-head', 'dustbin']);
  expect(output.harmBound).toBe(0.01);
  expect(output.calibratedFor).toBeLessThan(0.01);
  expect(output.before.bystanders - output.after.bystanders).toBeLessThanOrEqual(0.01);
  const next = await kdSpec(['evaluate', '--dry-run', '--workspace', 'shifted-kd'], { folder });
  expect(next.stdout).toMatch(/ensemble +up to date/);
});

test.each([
  [['model.onnx', '--out', 'a.onnx'], /--images FOLDER/],
  [['model.onnx', '--images', 'warm'], /--out FILE/],
  [['model.onnx', '--images', 'warm', '--out', 'a.onnx', '--onnx', 'b.onnx'], /leave out --onnx/],
])('%s is a usage error', async (words, message) => {
  const { code, stderr } = await kdSpec(['patch', ...words], { folder });
  expect(stderr).toMatch(message);
  expect(code).toBe(2);
});

test.each([
  [['--specialist-head', 'full'], /--specialist-head full has no form as a graph, and patch writes one/],
  [['--routed-share', '0.5'], /leave it out, or add --rule share-inside/],
])('what has no form as a graph is refused before anything is made: %s', async (words, message) => {
  const place = ['--images', 'warm', '--out', 'a.onnx', '--workspace', 'refused'];
  const { code, stderr } = await kdSpec(['patch', 'model.onnx', ...place, ...words], { folder });
  expect(stderr).toMatch(message);
  expect(code).not.toBe(0);
  expect(existsSync(join(folder, 'refused'))).toBe(false);
});

test('where the file cannot be written, nothing is made', async () => {
  const words = ['--images', 'warm', '--out', 'others', '--workspace', 'nowhere'];
  const { code, stderr } = await kdSpec(['patch', 'model.onnx', ...words], { folder });
  expect(stderr).toMatch(/expected a file to write at .*others, found a folder/);
  expect(code).toBe(1);
  expect(existsSync(join(folder, 'nowhere'))).toBe(false);
});
