import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import { imageBatches } from '../src/data/batches.js';
import { openDataset } from '../src/data/dataset.js';
import { rivalNames } from '../src/evaluation/rivals/measure-rivals.js';
import { firstClass } from '../src/math/rank.js';
import { softmax } from '../src/math/softmax.js';
import { openOnnxClassifier } from '../src/models/onnx/onnx-classifier.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';
import { colourModel, colours, photograph } from './support/colours.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-rivals-'));
  await writeFile(join(folder, 'model.onnx'), colourModel());
  for (const one of colours.slice(0, 24)) await photograph(folder, join('photos', one.name), one, 30);
  for (const one of colours.slice(24)) await photograph(folder, join('others', one.name), one, 40);
  for (const one of colours.slice(24)) await photograph(folder, 'loose', one, 8);
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const given = ['--onnx', 'model.onnx', '--source', 'photos', '--channel-order', 'rgb', '--clusters', '3'];
const quick = ['--specialist-epochs', '3', '--views', '2', '--rival-epochs', '2'];
const schemaOf = async (command: string) =>
  z.fromJSONSchema(
    JSON.parse(await readFile(join(packageFolder(), 'docs', 'schemas', `${command}.json`), 'utf8')),
  );

interface Line {
  readonly name: string;
  readonly best: {
    readonly gain: number;
    readonly top1: number;
    readonly harm: { readonly harm: number };
  };
  readonly bounded: Line['best'] | null;
}

test('rivals of an imported model are measured with gain, harm and cost', async () => {
  const command = ['rivals', ...given, ...quick, '--bystanders', 'others', '--harm', '4%', '--json'];
  const output = jsonOf(await kdSpec([...command, '--workspace', 'kd'], { folder }));
  expect((await schemaOf('rivals')).parse(output)).toEqual(output);
  expect(output).toMatchObject({ classes: 36, classesWithImages: 24, features: 3, bound: 0.04 });
  expect(output.bystanders).toMatchObject({ fit: 120, test: 240 });
  expect(output.test.examples).toBe(24 * 3);
  const lines: readonly Line[] = output.rivals;
  expect(lines.map(({ name }) => name)).toEqual([...rivalNames, 'ensemble']);
  for (const { name, best, bounded } of lines) {
    expect(best.gain, name).toBeCloseTo(best.top1 - output.test.top1, 12);
    if (bounded) expect(bounded.gain, name).toBeCloseTo(bounded.top1 - output.test.top1, 12);
  }
  expect(lines[0].best).toMatchObject({ gain: 0, harm: { harm: 0 } });
  // The camera's cast is the same for all classes: a free hidden layer learns it, and takes what it gains from bystanders.
  const hidden = lines.find(({ name }) => name === 'hidden');
  expect(hidden?.best.gain).toBeGreaterThan(0);
  const stored = JSON.parse(await readFile(join(folder, 'kd', 'rivals', 'rivals.json'), 'utf8'));
  const { artefact, ...report } = output;
  expect(stored).toEqual(report);
  expect(artefact).toMatchObject({ stage: 'rivals', status: 'made' });
});

test('the report shows the comparison, and the terminal says first whether a rival is better', async () => {
  const shown = await kdSpec(['rivals', '--workspace', 'kd'], { folder });
  expect(shown.code).toBe(0);
  expect(shown.stdout).toMatch(
    /^rivals: .*\(up to date\)\n(No rival is better than the specialists|A rival is better than the specialists|No rival keeps)/,
  );
  expect(shown.stdout).toMatch(/gain at harm ≤ 4%/);
  const evaluated = await kdSpec(['evaluate', '--with-rivals', '--workspace', 'kd', '--json'], { folder });
  const output = jsonOf(evaluated);
  expect((await schemaOf('evaluate')).parse(output)).toEqual(output);
  expect(output.rivals.rivals).toHaveLength(10);
  // What evaluate measures of the same ensemble on the same images.
  const own = output.rivals.rivals.at(-1);
  expect(own.best.top1).toBeCloseTo(output.test.ensemble.top1, 12);
  expect(own.best.gain).toBeCloseTo(output.test.difference.top1, 12);
  expect(own.best.harm.harm).toBeCloseTo(output.bystanders.harm, 12);
  const page = await readFile(join(folder, 'kd', 'report', 'index.html'), 'utf8');
  expect(page).toMatch(/<h2>Rivals<\/h2>/);
  expect(page).toMatch(/nearest neighbours among the training features/);
});

test('a hidden layer, which is within no small bound here, is written under a large one, and can be imported', async () => {
  await cp(join(folder, 'kd'), join(folder, 'lenient'), { recursive: true });
  const command = ['rivals', '--harm', '90%', '--workspace', 'lenient', '--json'];
  const { rivals } = jsonOf(await kdSpec(command, { folder }));
  const { bounded } = rivals.find((rival: Line) => rival.name === 'hidden');
  const words = ['export', '--refit', 'hidden', '--out', 'hidden.onnx', '--workspace', 'lenient', '--json'];
  const output = jsonOf(await kdSpec(words, { folder }));
  expect(output).toMatchObject({ refit: 'hidden', gain: bounded.gain, outputs: ['probabilities'] });
  expect(output.maxDifference).toBeLessThan(1e-4);
  const source = ['--onnx', 'hidden.onnx', '--source', 'photos', '--channel-order', 'rgb'];
  const imported = ['import', ...source, '--workspace', 'again', '--json'];
  const again = jsonOf(await kdSpec(imported, { folder }));
  expect(again.features).toBe(3 + 64);
});

test.each(['temperature', 'prior', 'bias', 'interpolated', 'adapter', 'neighbours'])(
  'export --refit %s writes the model that was measured',
  async (name) => {
    const words = ['export', '--refit', name, '--out', 'refitted.onnx', '--workspace', 'kd'];
    const output = jsonOf(await kdSpec([...words, '--json'], { folder }));
    expect((await schemaOf('export')).parse(output)).toEqual(output);
    const measured = JSON.parse(await readFile(join(folder, 'kd', 'rivals', 'rivals.json'), 'utf8'));
    const { bounded } = measured.rivals.find((rival: Line) => rival.name === name);
    expect(output).toMatchObject({ refit: name, gain: bounded.gain, harm: bounded.harm, images: 64 });
    expect(output.maxDifference).toBeLessThan(name === 'neighbours' ? 1e-4 : 1e-5);

    const config = JSON.parse(await readFile(join(folder, 'kd', 'generalist', 'config.json'), 'utf8'));
    const { order, normalisation } = config.backbone.reading;
    const { mean, deviation } = normalisation;
    const path = join(folder, 'refitted.onnx');
    const classifier = await openOnnxClassifier(path, { order, mean, deviation });
    const { splits, image } = await openDataset(join(folder, 'kd', 'dataset'));
    const original = await openOnnxClassifier(join(folder, 'model.onnx'), { order, mean, deviation });
    const { temperature } = bounded.settings;
    let [right, images] = [0, 0];
    for await (const batch of imageBatches(splits.test, image, { batchSize: 64 })) {
      const found = await classifier.probabilities(batch);
      const before = await original.probabilities(batch);
      for (let row = 0; row < batch.count; row++, images++) {
        const own = found.subarray(36 * row, 36 * (row + 1));
        right += Number(firstClass(own) === batch.labels[row]);
        expect(own.reduce((sum, one) => sum + one)).toBeCloseTo(1, 5);
        if (name !== 'temperature') continue;
        const logits = before.subarray(36 * row, 36 * (row + 1)).map(Math.log);
        const cooled = softmax(logits, { temperature });
        for (const [label, value] of own.entries()) expect(value).toBeCloseTo(cooled[label], 4);
        expect(firstClass(own)).toBe(firstClass(logits));
      }
    }
    classifier.dispose();
    original.dispose();
    expect(images).toBe(72);
    expect(Math.abs(right / images - bounded.top1)).toBeLessThan(1.5 / images);
  },
);

test('the model as it is, another form of file, and a rival that was not measured are not exported', async () => {
  const exported = (...words: readonly string[]) =>
    kdSpec(['export', '--out', 'x.onnx', ...words], { folder });
  expect(await exported('--refit', 'generalist', '--workspace', 'kd')).toMatchObject({ code: 2 });
  expect(await exported('--refit', 'bias', '--trace', '--workspace', 'kd')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('leave out --trace'),
  });
  const unmeasured = await exported('--refit', 'bias', '--workspace', 'nothing');
  expect(unmeasured).toMatchObject({ code: 1, stderr: expect.stringMatching(/kd-spec rivals/) });
});

test('images without labels count by agreement', async () => {
  const command = [
    'rivals',
    ...given,
    ...quick,
    '--bystanders',
    'loose',
    '--json',
    '--workspace',
    'loose-kd',
  ];
  const output = jsonOf(await kdSpec(command, { folder }));
  expect(output.bystanders).toMatchObject({ fit: 48, test: 48, top1: 1 });
});

test('where every class has images there is no harm to measure', async () => {
  const tiny = await copyOfTiny();
  const command = ['rivals', '--rival-epochs', '1'];
  const output = jsonOf(await kdSpec([...command, '--json'], { folder: tiny }));
  expect(output).toMatchObject({ bystanders: null, bound: null, classes: 60, classesWithImages: 60 });
  for (const line of output.rivals) expect(line.bounded).toBeNull();
  const words = ['export', '--refit', 'refitted', '--out', 'refitted.onnx', '--json'];
  const exported = jsonOf(await kdSpec(words, { folder: tiny }));
  expect(exported).toMatchObject({ harm: null, outputs: ['probabilities', 'generalist'], classes: 60 });
  expect(exported.maxDifference).toBeLessThan(1e-4);
  const cooled = ['export', '--refit', 'temperature', '--out', 'cooled.onnx', '--json'];
  expect(jsonOf(await kdSpec(cooled, { folder: tiny }))).toMatchObject({ gain: 0, classes: 60 });
  const refused = await kdSpec(['export', '--refit', 'neighbours', '--out', 'x.onnx'], { folder: tiny });
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('into imported models alone') });
  const shown = await kdSpec(command, { folder: tiny });
  expect(shown.stdout).toMatch(/There is no harm to measure: every class has images/);
  await rm(tiny, { recursive: true });
});
