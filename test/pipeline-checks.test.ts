import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../src/core/log.js';
import { createPredictionWriter } from '../src/data/predictions.js';
import { assumedFlopsPerSecond, planStages } from '../src/pipeline/plan.js';
import { runStages } from '../src/pipeline/run.js';
import { resolveSettings } from '../src/pipeline/settings.js';
import type { StageName } from '../src/pipeline/stage-names.js';
import { stages } from '../src/pipeline/stages/index.js';
import { colourModel } from './support/colour-model.js';

/** Six classes of ten images, and the same in parts. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-checks-'));
  const image = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#fff' } })
    .png()
    .toBuffer();
  const put = async (place: string, images: number) => {
    await mkdir(join(folder, place), { recursive: true });
    for (let i = 0; i < images; i++) await writeFile(join(folder, place, `${i}.png`), image);
  };
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await put(`photos/${name}`, 10);
  for (const name of ['a', 'b']) await put(`scarce/${name}`, 3);
  await put('alone/a', 10);
  await writeFile(join(folder, 'alone', 'labels.csv'), 'path,label\na/0.png,x\na/1.png,x\n');
  await put('loose', 3);
  await writeFile(join(folder, 'file.txt'), '');
  const subsets = (classes: number) => JSON.stringify({ classes, subsets: [{ id: 0, classes: [0, 1] }] });
  await writeFile(join(folder, 'subsets.json'), subsets(12));
  await writeFile(join(folder, 'other-subsets.json'), subsets(7));
  await writeFile(join(folder, 'colours.onnx'), colourModel());
  await put('checkpoint', 0);
  const network = {
    convolutions: [],
    kernel: 3,
    dense: [4],
    normalisation: 'none',
    dropout: 0,
    outputs: 100,
  };
  const input = { height: 8, width: 8, channels: 1 };
  const config = { kind: 'generalist', network: { ...network, input } };
  await writeFile(join(folder, 'checkpoint', 'config.json'), JSON.stringify(config));
  await put('predictions', 0);
  await writeFile(join(folder, 'predictions', 'rows.arrow'), '');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Words as on a command line; `--x` alone is a flag that takes no value. */
function flagsOf(words: string): Record<string, string | boolean> {
  const flags: Record<string, string | boolean> = {};
  for (const part of words.split(/(?:^| )--/).filter((text) => text !== '')) {
    const [name = '', value] = part.split(' ');
    flags[name] = value ?? true;
  }
  return flags;
}
const settle = (words: string, env: Readonly<Record<string, string>> = {}) =>
  resolveSettings(flagsOf(words), env, { folder });
const plan = async (target: StageName, words: string, env?: Readonly<Record<string, string>>) =>
  planStages(stages, target, await settle(words, env));

describe('what cannot work is refused while planning', () => {
  const synthetic = '--classes 100';
  const photos = '--source photos';

  test.each<readonly [target: StageName, words: string, message: string]>([
    // What the source is.
    ['dataset', '--source /nothere', 'found nothing at /nothere: check the path'],
    ['dataset', '--source hann', 'did you mean "han"?'],
    ['dataset', '--source file.txt', 'a file of another kind'],
    [
      'dataset',
      '--source alone',
      'expected images of at least 2 classes, found 1: put each class into a folder',
    ],
    [
      'dataset',
      '--source alone/labels.csv',
      'found 1: if another column has the labels, name it with --label-column',
    ],
    // What it does not take.
    ['dataset', `${photos} --classes 3`, '--classes does nothing for a folder of class folders'],
    ['dataset', `${photos} --images-per-class 5`, '--images-per-class does nothing'],
    ['dataset', `${photos} --label-noise 0.1`, '--label-noise does nothing'],
    ['dataset', `${photos} --fonts x`, '--fonts does nothing'],
    ['dataset', `${photos} --sentences 3`, '--sentences does nothing'],
    ['dataset', '--source jft-like --channels 3', '--channels does nothing for jft-like'],
    ['dataset', `${synthetic} --test-fraction 0.2`, '--test-fraction does nothing for jft-like'],
    ['dataset', '--source han --images-per-class 5', '--images-per-class does nothing for han'],
    ['dataset', '--source speech --image-size 16', '--image-size does nothing for speech'],
    ['dataset', '--source han --fonts none', 'needs a value for --fonts'],
    ['dataset', '--source han --image-size 300', 'at most 256'],
    ['dataset', `${photos} --test-fraction 0.5 --validation-fraction 0.5`, 'sum to less than 1'],
    // Networks and batches.
    ['generalist', `${synthetic} --batch-size 1`, 'batch normalisation needs at least 2 images a step'],
    ['generalist', `${synthetic} --sampled-head 16`, 'expected more than the batch size of 32'],
    ['generalist', `${synthetic} --convolutions none --kernel 5`, '--kernel would do nothing'],
    ['generalist', `${synthetic} --dense none --dropout 0.5`, '--dropout would do nothing'],
    // Parts without images.
    ['predictions', '--source scarce', 'needs at least 2 validation images, and'],
    ['report', '--source scarce --predict-split train', 'needs at least 2 validation images'],
    ['report', `${photos} --test-fraction 0.001`, 'needs at least 1 test image'],
    // Subsets.
    ['subsets', `${synthetic} --clusters 50000`, 'there are 100 classes: give at most 100'],
    ['subsets', `${synthetic} --specialists 101 --size 3`, '--specialists 101: there are 100 classes'],
    ['subsets', `${synthetic} --specialists 3 --size 200`, '--size 200: there are 100 classes'],
    ['subsets', `${photos} --clusters 7`, 'there are 6 classes'],
    ['subsets', `${synthetic} --clusters 20 --min-size 6`, 'give --min-size 5 or --clusters 16'],
    ['subsets', `${synthetic} --clusters 20 --max-size 4`, 'give --max-size 5 or --clusters 25'],
    ['subsets', `${synthetic} --specialists 61`, '--specialists was given without --size'],
    ['subsets', `${synthetic} --specialists 6 --size 3 --clusters 4`, 'got both'],
    ['subsets', `${synthetic} --min-size 9 --max-size 3`, '--min-size 9 is larger'],
    ['subsets', `${synthetic} --balance confusion --specialists 3 --size 20`, 'is for a partition'],
    ['subsets', `${synthetic} --specialists 3 --size 20 --max-size 30`, '--max-size would do nothing'],
    ['subsets', `${synthetic} --max-mass 2`, '--max-mass would do nothing'],
    ['subsets', `${synthetic} --confusion hard`, '--confusion would do nothing'],
    ['subsets', '--classes 12 --subsets subsets.json --clusters 3', '--clusters would do nothing'],
    // Specialists.
    ['report', `${synthetic} --retrain all --soft-share 0.5`, 'need cached features'],
    ['report', `${synthetic} --retrain all --routed-share 0.5`, 'need cached features'],
    ['report', `${synthetic} --retrain all --specialist-head full`, 'need cached features'],
    ['report', `${synthetic} --retrain all --specialist-head anchored`, 'need cached features'],
    ['report', `${synthetic} --retrain all --views 3`, '--views would do nothing'],
    ['report', `${synthetic} --specialist-head full --specialist-label-smoothing 0.1`, 'use --soft-share'],
    ['report', `${synthetic} --specialist-dense 64`, 'none below'],
    ['report', `${synthetic} --specialist-dense 300,300`, 'expected 1 widths'],
    ['report', `${synthetic} --specialist-dense 300 --retrain head`, 'leave one of the two'],
    ['report', `${synthetic} --clusters 1`, '--clusters 1 makes a subset of all classes'],
    ['report', `${synthetic} --specialists 2 --size 100`, '--size 100 makes a subset of all classes'],
    ['report', `${synthetic} --slurm-time 90`, '--slurm-time would do nothing'],
    ['report', `${synthetic} --wait`, '--wait would do nothing'],
    ['report', `${synthetic} --engine slurm --parallel 3`, '--parallel would do nothing'],
    ['report', `${synthetic} --engine slurm --slurm-time soon`, 'expected a time such as'],
    // The ensemble.
    ['report', `${synthetic} --routing-mass 0.1 --routing-top 3`, '--routing-top would do nothing'],
    ['report', `${synthetic} --select=false --selection-errors 3`, 'would do nothing'],
    ['report', `${synthetic} --calibrate=false --weights each`, '--weights would do nothing'],
    // Teachers and students.
    ['student', `${synthetic} --objective logits --answers-top 5`, 'add --answers-top 100'],
    ['student', '--classes 500 --objective logits', 'add --answers-top 500'],
    ['student', `${synthetic} --student-batch-size 1`, '--student-batch-size 1: batch normalisation'],
    ['student', `${synthetic} --teacher file.txt`, 'no teacher at'],
    ['student', `${synthetic} --teacher predictions --transfer-views 2`, 'set it to 0'],
    [
      'student',
      `${photos} --image-size 8 --teacher colours.onnx`,
      'takes images of 12 x 12 in colour, the data set has 8 x 8',
    ],
    [
      'student',
      `${synthetic} --teacher checkpoint`,
      'takes images of 8 x 8 in grey, the data set has 16 x 16',
    ],
    ['student', `${synthetic} --mean geometric`, '--mean would do nothing: there is one teacher'],
    ['student', `${synthetic} --objective labels --transfer loose`, 'have no labels'],
    ['student', `${synthetic} --transfer loose --transfer-classes 1,2`, 'choose by labels'],
    ['student', `${synthetic} --transfer-classes 1,100`, 'expected numbers of classes from 0 to 99'],
    ['student', `${synthetic} --transfer-classes 1,2 --transfer-without 2,1`, 'leaves no class'],
    ['student', `${synthetic} --objective labels --hard-weight 2`, '--hard-weight would do nothing'],
    ['student', `${synthetic} --objective logits --temperature 3`, '--temperature would do nothing'],
  ])('%s %s', async (target, words, message) => {
    // A flag that is off is written `--select=false` here, and read by the table.
    const text = words.replace(/--(\w+)=false/g, '--$1 false');
    await expect(plan(target, text)).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringContaining(message),
    });
  });

  test.each<readonly [target: StageName, words: string]>([
    ['report', '--classes 12 --predictions stored'],
    ['answers', '--classes 12 --teacher stored'],
  ])('and so are predictions for other classes: %s %s', async (target, words) => {
    const writer = createPredictionWriter(join(folder, 'stored'), { classes: 7 });
    await writer.close();
    await expect(plan(target, words)).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringContaining('expected predictions for 12 classes, but its metadata'),
    });
    expect(await plan(target, words.replace('12', '7'))).toMatchObject({
      outline: { dataset: { classes: 7 } },
    });
  });

  test('and so are subsets for other classes', async () => {
    await expect(plan('subsets', '--classes 12 --subsets other-subsets.json')).rejects.toMatchObject({
      code: 'subsets-invalid',
      message: expect.stringContaining('are for 7 classes, the data set has 12'),
    });
  });

  test('and before any workspace is made', async () => {
    const quiet = { log: silentLog, signal: new AbortController().signal };
    await expect(
      settle('--source /nothere --workspace w').then((it) => runStages(stages, 'dataset', it, quiet)),
    ).rejects.toMatchObject({ code: 'option-invalid' });
    expect(existsSync(join(folder, 'w'))).toBe(false);
  });

  test('whether a flag, a variable or a file says it', async () => {
    await expect(plan('dataset', photos, { KD_SPEC_CLASSES: '3' })).rejects.toThrow(
      'KD_SPEC_CLASSES: --classes',
    );
    const file = join(folder, 'p.yaml');
    await writeFile(file, 'dataset:\n  source: photos\n  classes: 3\n');
    await expect(plan('dataset', `--pipeline ${file}`)).rejects.toThrow(`${file}:3: --classes`);
  });
});

describe('what can work is planned', () => {
  test.each<readonly [target: StageName, words: string]>([
    ['report', '--source photos'],
    ['dataset', '--source photos --image-size 16 --channels 1 --validation-fraction 0.2'],
    ['subsets', '--classes 100 --clusters 100'],
    ['subsets', '--classes 100 --balance confusion --max-mass 2'],
    ['generalist', '--classes 100 --batch-size 1 --normalisation none'],
    ['generalist', '--classes 100 --sampled-head 100'],
    ['student', '--classes 100 --objective logits'],
    ['student', '--classes 500 --objective logits --answers-top 500'],
    ['student', '--classes 100 --student-batch-size 1 --student-normalisation none'],
    ['report', '--classes 100 --engine slurm --slurm-time 90 --wait'],
    ['subsets', '--classes 12 --subsets subsets.json'],
    ['report', '--source han'],
  ])('%s %s', async (target, words) => {
    expect((await plan(target, words)).stages.at(-1)).toMatchObject({ stage: target, status: 'make' });
  });

  test('with a warning where validation has few images of a class', async () => {
    expect((await plan('report', '--source photos')).warnings).toEqual([
      expect.stringContaining('6 validation images for 6 classes, 1.0 of each'),
    ]);
    expect((await plan('report', '--source photos --validation-fraction 0.3')).warnings).toEqual([]);
  });
});

describe('images that nobody chose', () => {
  test.each<readonly [target: StageName, words: string]>([
    ['ensemble', ''],
    ['report', '--clusters 30'],
    ['generalist', '--epochs 3 --seed 2'],
  ])('are no reason for a long job: %s %s', async (target, words) => {
    await expect(plan(target, words)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('kd-spec run --source FOLDER'),
    });
  });

  test.each(['--classes 15000', '--source jft-like', '--images-per-class 10', '--pipeline default'])(
    '%s chooses some',
    async (words) => {
      const { outline } = await plan('subsets', words);
      expect(outline.dataset).toMatchObject({ source: 'jft-like', classes: 15_000 });
    },
  );

  test('are not needed, nor remembered, where predictions are given', async () => {
    const { outline, stages: planned } = await plan('subsets', '--predictions predictions --clusters 3');
    expect({ dataset: outline.dataset, stages: planned.length }).toEqual({ dataset: null, stages: 1 });
  });
});

test('a plan says what will be made', async () => {
  const {
    outline,
    rate,
    stages: planned,
  } = await plan('report', '--source photos --parallel 2 --with-student');
  expect(outline).toMatchObject({
    dataset: {
      kind: 'image-folder',
      classes: 6,
      images: { train: 48, validation: 6, test: 6 },
      isExact: true,
    },
    generalist: { definition: { convolutions: [32, 64], dense: [192], outputs: 6 } },
    specialists: { count: 2, classes: 3, engine: 'local', processes: 2 },
    student: { candidates: 1 },
  });
  const { parameters, flopsPerImage, trainingFlops } = outline.generalist ?? {};
  // 3 × 3 × 3 × 32 and 3 × 3 × 32 × 64 filters, 8 × 8 × 64 features to 192 units and these to 6 classes, and four numbers
  // for each unit of a normalised layer.
  expect(parameters).toBe(864 + 18_432 + 4096 * 192 + 192 * 6 + 6 + 4 * (32 + 64 + 192));
  expect(flopsPerImage).toBe(2 * (32 * 32 * 864 + 16 * 16 * 18_432 + 4096 * 192 + 192 * 6));
  expect(trainingFlops).toBe(3 * Number(flopsPerImage) * 48 * 100); // at most
  const trained = planned.filter((stage) => stage.trainingFlops !== null).map(({ stage }) => stage);
  expect(trained).toEqual(['generalist', 'specialists', 'student']);
  const secondsOf = (name: string) => planned.find(({ stage }) => stage === name)?.seconds;
  expect(rate).toEqual({ flopsPerSecond: assumedFlopsPerSecond, isMeasured: false });
  expect(secondsOf('generalist')).toBe(Number(trainingFlops) / assumedFlopsPerSecond);
  expect(secondsOf('specialists')).toBe(
    Number(outline.specialists?.trainingFlops) / assumedFlopsPerSecond / 2,
  );
  expect(secondsOf('subsets')).toBe(null);
});

test('a plan counts the classes that a sampled head computes', async () => {
  const { generalist } = (await plan('generalist', '--source jft-like --classes 3000 --sampled-head 512'))
    .outline;
  const { definition, flopsPerImage = 0, trainingFlops } = generalist ?? {};
  const width = definition?.dense.at(-1) ?? 0;
  const images = 3000 * 40;
  expect(trainingFlops).toBe(3 * (flopsPerImage - 2 * width * (3000 - 512)) * images * 100);
});

test('a source that changed after its import is warned of, and imported again when its folder is removed', async () => {
  const source = join(folder, 'changing');
  await cp(join(folder, 'photos'), source, { recursive: true });
  const words = '--source changing --image-size 8 --workspace changing/kd-workspace';
  const warnings = async () => (await plan('dataset', words)).warnings.filter((one) => /changed/.test(one));
  const make = async () =>
    runStages(stages, 'dataset', await settle(words), {
      log: silentLog,
      signal: new AbortController().signal,
    });
  const [{ manifest }] = await make();
  expect(await warnings()).toEqual([]);

  await writeFile(join(source, '.hidden'), 'x');
  expect(await warnings()).toEqual([]);
  const image = join(source, 'a', '0.png');
  await utimes(image, new Date(), new Date(Date.now() + 60_000));
  expect(await warnings()).toEqual([expect.stringContaining('(files have other times of modification)')]);
  await cp(image, join(source, 'a', 'new.png'));
  const [warning, ...others] = await warnings();
  expect(others).toEqual([]);
  expect(warning).toMatch(/changing has changed since it was imported \(60 files then, 61 files now\)/);
  const [, removed] = /remove (.*) and repeat/.exec(warning) ?? [];
  const [kept] = await make();
  expect(kept).toMatchObject({ status: 'up-to-date', manifest: { digest: manifest.digest } });

  await rm(removed, { recursive: true });
  const [again] = await make();
  expect(again.status).toBe('made');
  expect(await warnings()).toEqual([]);
});

test('where one group holds all images, the advice is about the group', async () => {
  const words = '--source photos --image-size 8 --workspace grouped --group (png)$';
  const { warnings } = await plan('dataset', words);
  const advice = expect.stringContaining('--group "(png)$" keeps each group on one side: if one group holds');
  expect(warnings).toEqual([advice, advice]);
  expect(warnings[0]).toMatch(/^0 validation images for 6 classes/);
  expect(warnings[1]).toMatch(/^no test images/);
  const said: string[] = [];
  const log = { ...silentLog, warn: (message: string) => said.push(message) };
  await runStages(stages, 'dataset', await settle(words), { log, signal: new AbortController().signal });
  expect(said).toContainEqual(
    expect.stringMatching(/6 of 6 classes .* have no validation image.*--group "\(png\)\$" keeps/),
  );
});
