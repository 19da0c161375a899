import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { createRandom } from '../src/core/random.js';
import { imageBatches } from '../src/data/batches.js';
import { openDataset } from '../src/data/dataset.js';
import { openExportedEnsemble } from '../src/ensemble/export/exported-ensemble.js';
import { softmax } from '../src/math/softmax.js';
import { jsonOf, kdSpec, startKdSpec } from './fixtures/command-line.js';
import { npy, npz } from './support/numpy-arrays.js';

// A classifier of twelve classes that tells six pairs apart and guesses within a pair; the features know better.
const classes = 12;
const width = 7;
const rows = 1200;
const names = Array.from({ length: classes }, (_, label) => `word ${label}`);

let folder: string;
let made: ReturnType<typeof example>[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-rows-'));
  made = Array.from({ length: rows }, (_, row) => example(row));
  await writeFile(join(folder, 'all.npz'), archive(made, { isLabelled: true }));
  await writeFile(join(folder, 'new.npz'), archive(made.slice(0, 20), { isLabelled: false }));
});
afterAll(() => rm(folder, { recursive: true }));

function example(row: number) {
  const random = createRandom(1, 'rows', row);
  const label = row % classes;
  const pair = label >> 1;
  const features = Array.from({ length: width }, (_, at) => {
    const mean = at < 6 ? (at === pair ? 2 : 0) : label % 2 === 0 ? 1 : -1;
    return mean + 0.4 * random.normal();
  });
  const logits = names.map((_, other) => (other >> 1 === pair ? 4 : 0) + 0.5 * random.normal());
  return { label, features, logits };
}

function archive(
  examples: readonly ReturnType<typeof example>[],
  { isLabelled }: { readonly isLabelled: boolean },
) {
  const count = examples.length;
  return npz({
    features: npy(Float32Array.from(examples.flatMap(({ features }) => features)), [count, width]),
    logits: npy(Float32Array.from(examples.flatMap(({ logits }) => logits)), [count, classes]),
    ...(isLabelled && {
      label: npy(
        examples.map(({ label }) => names[label]),
        [count],
      ),
    }),
    ...(isLabelled && { classes: npy(names, [classes]) }),
  });
}

const ranked = z.array(z.object({ index: z.number(), class: z.string(), probability: z.number() }));

test('features with the logits of a classifier: from a file to an ensemble that is right more often, and to new rows', async () => {
  const words = ['--workspace', 'w', '--clusters', '6', '--quiet'];
  const report = jsonOf(
    await kdSpec(
      [
        'run',
        '--source',
        'all.npz',
        '--specialist-epochs',
        '20',
        '--specialist-learning-rate',
        '0.05',
        '--rule',
        'share-inside',
        ...words,
        '--json',
      ],
      { folder },
    ),
  );
  const { test: measured } = z
    .object({
      stages: z.object({ report: z.object({ metrics: z.looseObject({ test: z.looseObject({}) }) }) }),
    })
    .parse(report).stages.report.metrics;
  const { generalist, ensemble } = z
    .object({ generalist: z.object({ top1: z.number() }), ensemble: z.object({ top1: z.number() }) })
    .parse(measured);
  expect(generalist.top1).toBeLessThan(0.65);
  expect(ensemble.top1).toBeGreaterThan(0.9);

  const infer = (word: string) => ['infer', word, '--workspace', 'w', '--top', '1', '--json'];
  const schema = z.object({
    images: z.array(z.object({ path: z.string(), generalist: ranked, ensemble: ranked })),
  });
  const { images } = schema.parse(jsonOf(await kdSpec(infer('new.npz'), { folder })));
  expect(images.map(({ path }) => path)).toEqual(
    Array.from({ length: 20 }, (_, row) => `new.npz, row ${row}`),
  );
  for (const [row, { generalist: of }] of images.entries()) {
    const { logits } = made[row];
    expect(of[0].index).toBe(logits.indexOf(Math.max(...logits)));
    expect(of[0].class).toBe(names[of[0].index]);
  }
  const right = images.filter(({ ensemble: of }, row) => of[0].index === made[row].label).length;
  expect(right).toBeGreaterThanOrEqual(17);

  const input = archive(made.slice(0, 20), { isLabelled: false });
  const piped = schema.parse(jsonOf(await startKdSpec(infer('-'), { folder, input }).finished));
  expect(piped.images.map(({ ensemble: of }) => of)).toEqual(images.map(({ ensemble: of }) => of));

  const exported = jsonOf(
    await kdSpec(['export', '--out', 'w.onnx', '--workspace', 'w', '--json'], { folder }),
  );
  expect(exported).toMatchObject({ inputs: ['features'], classes });
  expect(exported.maxDifference).toBeLessThan(1e-4);
  const hub = ['export', '--format', 'hf', '--out', 'hub', '--workspace', 'w', '--json'];
  expect(jsonOf(await kdSpec(hub, { folder }))).toMatchObject({ format: 'hf' });
  const card = await readFile(join(folder, 'hub', 'README.md'), 'utf8');
  expect(card).toContain('`rows` are rows of 7 features followed by the 12 logits (float32).');
  expect(card).toContain('pipeline_tag: tabular-classification');
  expect(card).toMatch(/^On \d+ rows of the test split, all classes:$/m);
  expect(card).toMatch(
    /^import numpy\nrows = numpy\.load\('rows\.npy'\)\.astype\('float32'\) {2}# \(rows, 19\)\n[\s\S]*"features": rows\}\)$/m,
  );
  expect(card).not.toMatch(/image/);
  for (const [flags, message] of [
    [['--format', 'web'], /the page of --format web classifies images, .*take --format onnx or hf/],
    [['--with-preprocessing'], /need no preprocessing: leave out --with-preprocessing$/m],
  ] as const) {
    const { stderr } = await kdSpec(['export', '--out', 'page', '--workspace', 'w', ...flags], { folder });
    expect(stderr).toMatch(message);
  }
  const ofFile = jsonOf(
    await kdSpec(['infer', '--model', 'w.onnx', 'new.npz', '--top', '1', '--json'], { folder }),
  );
  const first = z.object({ images: z.array(z.looseObject({ ensemble: ranked })) }).parse(ofFile);
  expect(first.images.map(({ ensemble: of }) => of[0].index)).toEqual(
    images.map(({ ensemble: of }) => of[0].index),
  );

  expect((await kdSpec(infer('photo.png'), { folder })).stderr).toMatch(
    /photo.png: expected a file of rows of 19 numbers/,
  );
  await writeFile(join(folder, 'narrow.npy'), npy(new Float32Array(12), [2, 6]));
  expect((await kdSpec(infer('narrow.npy'), { folder })).stderr).toMatch(
    /expected rows of 19 numbers, 12 of them logits.*found 6/,
  );
  // As wide, but with the two arrays in each other's place.
  const swapped = npz({
    features: npy(new Float32Array(2 * classes), [2, classes]),
    logits: npy(new Float32Array(2 * width), [2, width]),
  });
  await writeFile(join(folder, 'swapped.npz'), swapped);
  expect((await kdSpec(infer('swapped.npz'), { folder })).stderr).toMatch(
    /12 of them logits.*found 19, 7 of/,
  );
});

test.each(['temperature', 'bias'])(
  'export --refit %s writes logits beside features as the rival that was measured',
  async (name) => {
    const place = ['--workspace', 'w', '--json'];
    const measured = jsonOf(await kdSpec(['rivals', '--rival-epochs', '1', ...place], { folder }));
    const rival = measured.rivals.find((one: { readonly name: string }) => one.name === name);
    const path = join(folder, `${name}.onnx`);
    const output = jsonOf(await kdSpec(['export', '--refit', name, '--out', path, ...place], { folder }));
    expect(output).toMatchObject({ refit: name, classes, inputs: ['features'] });
    expect(output.maxDifference).toBeLessThan(1e-5);

    const classifier = await openExportedEnsemble(await readFile(path), { path });
    const { splits, image } = await openDataset(join(folder, 'w', 'dataset'));
    let [right, kept, count] = [0, 0, 0];
    for await (const batch of imageBatches(splits.test, image, { batchSize: 64 })) {
      const found = await classifier.probabilities(batch);
      for (let row = 0; row < batch.count; row++, count++) {
        const own = found.subarray(classes * row, classes * (row + 1));
        const logits = batch.images.subarray((width + classes) * row + width, (width + classes) * (row + 1));
        right += Number(firstOf(own) === batch.labels[row]);
        kept += Number(firstOf(logits) === batch.labels[row]);
        if (name !== 'temperature') continue;
        const cooled = softmax(logits, { temperature: rival.best.settings.temperature });
        for (const [label, value] of own.entries()) expect(value).toBeCloseTo(cooled[label], 5);
      }
    }
    classifier.dispose();
    expect(right / count).toBeCloseTo(output.top1, 12);
    expect((right - kept) / count).toBeCloseTo(output.gain, 12);
  },
);

const firstOf = (values: Float32Array) => values.indexOf(Math.max(...values));

/** Rows of some of so many classes, which come in pairs: logits and the first three features tell pairs apart, the last a pair. */
function rowsOfPart(total: number, some: readonly number[], { each = 40, width: wide = 4, peak = 4 } = {}) {
  const labels = some.flatMap((label) => Array<number>(each).fill(label));
  const random = createRandom(2, 'part', total);
  const row = (label: number) => {
    const told = [Math.cos(label >> 1), Math.sin(label >> 1), label >> 1, (label % 2) * 2 - 1];
    return [...told, ...Array<number>(wide - told.length).fill(0)];
  };
  const likeness = (label: number) =>
    Array.from(
      { length: total },
      (_, other) => (other >> 1 === label >> 1 ? peak : 0) + (other < 50 ? 0.5 * random.normal() : 0),
    );
  const all = Array.from({ length: total }, (_, label) => `word ${label}`);
  const features = labels.flatMap((label) => row(label).map((value) => value + 0.3 * random.normal()));
  return npz({
    features: npy(Float32Array.from(features), [labels.length, wide]),
    logits: npy(Float32Array.from(labels.flatMap(likeness)), [labels.length, total]),
    label: npy(
      labels.map((label) => all[label]),
      [labels.length],
    ),
    classes: npy(all, [total]),
  });
}

const ofRun = z.object({
  stages: z.object({
    dataset: z.object({
      metrics: z.object({
        import: z.object({
          leftOut: z.array(z.unknown()),
          notes: z.array(z.looseObject({ what: z.string() })),
        }),
        bystanders: z.object({ heldOut: z.array(z.string()) }).optional(),
      }),
    }),
    subsets: z.object({ metrics: z.object({ classesBySubset: z.array(z.object({ size: z.number() })) }) }),
    ensemble: z.object({ metrics: z.object({ rule: z.string() }) }),
  }),
});
const briefly = ['--specialist-epochs', '2', '--json'];

test('logits of classes of which only a part has rows: the others stay with the generalist, whose masses no rule may move', async () => {
  await writeFile(join(folder, 'part.npz'), rowsOfPart(20, [0, 1, 2, 3, 4, 5, 6, 7]));
  const words = (workspace: string) => ['run', '--source', 'part.npz', '--workspace', workspace, ...briefly];
  const two = await kdSpec([...words('p2'), '--clusters', '2'], { folder });
  expect(two.stderr).toMatch(
    /rule share-inside: it leaves the probability of every class outside a subset as it is/,
  );
  expect(two.stderr).toMatch(/rows of 8 classes are too few to keep some from the specialists/);
  const { dataset, ensemble } = ofRun.parse(jsonOf(two)).stages;
  expect(ensemble.metrics.rule).toBe('share-inside');
  expect(dataset.metrics.import).toMatchObject({
    leftOut: [],
    notes: [{ what: 'classes without a training row, which stay as their logits have them', count: 12 }],
  });
  const one = ofRun.parse(jsonOf(await kdSpec([...words('p1'), '--clusters', '1'], { folder }))).stages;
  expect(one.subsets.metrics.classesBySubset).toMatchObject([{ size: 8 }]);
  expect(one.ensemble.metrics.rule).toBe('share-inside');
  const dry = jsonOf(await kdSpec([...words('p3'), '--clusters', '2', '--dry-run'], { folder }));
  const { network } = JSON.parse(await readFile(join(folder, 'p1', 'generalist', 'config.json'), 'utf8'));
  const { convolutions, kernel, dense, normalisation, outputs } = network;
  expect(dry.generalist).toMatchObject({ convolutions, kernel, dense, normalisation, outputs });
  const paper = await kdSpec([...words('p1'), '--clusters', '1', '--rule', 'paper'], { folder });
  expect(paper).toMatchObject({ code: 2 });
  expect(paper.stderr).toMatch(/--rule paper uses .*specialist 0 had none: give --rule share-inside/);
  const planned = await kdSpec([...words('p0'), '--clusters', '1', '--rule', 'paper'], { folder });
  expect(planned.stderr).toMatch(
    /--clusters 1 makes a subset of all classes with rows: give --rule share-inside/,
  );
  expect(planned.stderr).not.toMatch(/write train/);
});

test('of many classes with rows beside logits of more, some are held out to play the bystanders', async () => {
  await writeFile(
    join(folder, 'most.npz'),
    rowsOfPart(
      30,
      Array.from({ length: 22 }, (_, label) => label),
    ),
  );
  const words = ['run', '--source', 'most.npz', '--clusters', '1', '--hold-out', '0.2', '--workspace', 'h'];
  const { dataset, subsets } = ofRun.parse(jsonOf(await kdSpec([...words, ...briefly], { folder }))).stages;
  expect(dataset.metrics.bystanders?.heldOut).toHaveLength(4);
  expect(subsets.metrics.classesBySubset).toMatchObject([{ size: 18 }]);
  const all = await kdSpec(['run', '--source', 'all.npz', '--clusters', '1', '--workspace', 'x'], { folder });
  expect(all.stderr).toMatch(/--clusters 1 makes a subset of all classes, and a specialist tells/);
});

test('a classifier of 18,710 classes beside 512 features is taken as it is, and exported', async () => {
  const archived = rowsOfPart(18_710, [0, 1, 2, 3, 4, 5, 6, 7], { width: 512, peak: 15 });
  await writeFile(join(folder, 'wide.npz'), archived);
  const words = ['run', '--source', 'wide.npz', '--clusters', '2', '--workspace', 'wide', '--json'];
  const found = jsonOf(await kdSpec([...words, '--specialist-epochs', '2'], { folder }));
  const top1 = z.object({ top1: z.number() });
  const { test: measured } = z
    .object({
      stages: z.object({
        report: z.object({
          metrics: z.object({ test: z.object({ generalist: top1, ensemble: top1 }) }),
        }),
      }),
    })
    .parse(found).stages.report.metrics;
  for (const { top1: share } of [measured.generalist, measured.ensemble]) {
    expect(share).toBeGreaterThan(0.2); // the logits tell pairs of classes apart, and guess within
    expect(share).toBeLessThan(0.8);
  }
  const { size } = await stat(join(folder, 'wide', 'generalist', 'model.safetensors'));
  expect(size).toBeLessThan(1000); // no matrix of 19,222 by 18,710
  const out = ['export', '--out', 'wide.onnx', '--workspace', 'wide', '--json'];
  const exported = jsonOf(await kdSpec(out, { folder }));
  expect(exported).toMatchObject({ classes: 18_710 });
  expect(exported.maxDifference).toBeLessThan(1e-4);
});

test('predictions on standard input are clustered, with the names of their classes', async () => {
  const bytes = archive(made, { isLabelled: true });
  const words = ['cluster', '--predictions', '-', '--clusters', '3', '--workspace', 'c', '--quiet', '--json'];
  const { classesBySubset } = z
    .object({ classesBySubset: z.array(z.object({ size: z.number(), mostTypical: z.array(z.string()) })) })
    .parse(jsonOf(await startKdSpec(words, { folder, input: bytes }).finished));
  for (const { mostTypical } of classesBySubset) {
    const pairs = mostTypical.map((name) => names.indexOf(name) >> 1);
    for (const pair of pairs) expect(pairs.filter((other) => other === pair)).toHaveLength(2);
  }
});

test.each([
  [['dataset', '--source', 'all.npz', '--image-size', '8'], /--image-size does nothing for features/],
  [['train-generalist', '--source', 'all.npz', '--convolutions', '8'], /no neighbours to convolve/],
  [['train-generalist', '--source', 'all.npz', '--epochs', '3'], /the logits of .* are the generalist/],
])('%j is refused while planning', async (words, message) => {
  const { code, stderr } = await kdSpec([...words, '--workspace', 'r', '--dry-run'], { folder });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(message);
});
