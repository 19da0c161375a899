import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import { encodeSmallPng } from '../src/data/png.js';
import { keyOf, listedOptions } from '../src/pipeline/option-list.js';
import { resolveSettings, settingAt } from '../src/pipeline/settings.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { colourModel, colourNames, size, writePictures } from './support/colour-model.js';
import { hubParquet } from './support/hub-parquet.js';
import { idxImages, idxLabels } from './support/made-inputs.js';
import { npy, npz } from './support/numpy-arrays.js';

const rows = 90; // of each source, of three classes
const numbered = Array.from({ length: rows }, (_, row) => row);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-init-'));
  const at = (...names: readonly string[]) => join(folder, ...names);
  const pngs = numbered.map((row) => {
    const random = createRandom('init', row);
    const pixels = Uint8Array.from({ length: 3 * size * size }, () => random.below(256));
    return encodeSmallPng(pixels, { height: size, width: size, channels: 3 });
  });
  const kind = (row: number) => `kind-${row % 3}`;
  const vendor = (row: number) => `vendor${Math.floor(row / 9)}`;
  for (const name of ['photos', 'table', 'idx', 'arrays']) await mkdir(at(name), { recursive: true });
  for (const [row, png] of pngs.entries()) {
    await mkdir(at('photos', kind(row)), { recursive: true });
    await writeFile(at('photos', kind(row), `${vendor(row)}_${row}.png`), png);
    await writeFile(at('table', `${row}.png`), png);
  }
  await writeFile(
    at('table', 'labels.csv'),
    [
      'picture,kind,other,vendor',
      ...numbered.map((row) => `${row}.png,${row % 3},${row % 2},${vendor(row)}`),
    ].join('\n'),
  );
  await writeFile(at('class names.txt'), 'zero\none\ntwo\n');
  for (const part of ['train', 't10k']) {
    await writeFile(at('idx', `${part}-images-idx3-ubyte`), idxImages(rows, 10));
    await writeFile(at('idx', `${part}-labels-idx1-ubyte`), idxLabels(rows));
  }
  const random = createRandom('init', 'features');
  const normal = (width: number) =>
    npy(
      Float32Array.from({ length: rows * width }, () => random.normal()),
      [rows, width],
    );
  const label = npy(
    Int32Array.from(numbered, (row) => row % 3),
    [rows],
  );
  await writeFile(at('features.npz'), npz({ features: normal(5), label }));
  await writeFile(at('with-logits.npz'), npz({ features: normal(5), logits: normal(3), label }));
  await writeFile(at('arrays', 'features.npy'), normal(5));
  await writeFile(at('arrays', 'label.npy'), label);
  await writeFile(
    at('hub.parquet'),
    hubParquet(pngs, {
      labels: numbered.map((row) => row % 3),
      names: ['a', 'b', 'c'],
      vendors: numbered.map(vendor),
    }),
  );
  await writeFile(at('free.onnx'), colourModel({ isFree: true }));
  await writeFile(at('sequence.onnx'), colourModel({ isSequence: true }));
  await writeFile(at('colours.txt'), `${colourNames.join('\n')}\n`);
  await writePictures(at('pictures'), ['red', 'orange', 'green'], { perLabel: 20 });
  await writePictures(at('others'), ['blue', 'white'], { perLabel: 20 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Environment = Readonly<Record<string, string>>;

/** Runs `init`, then looks at what it wrote: its text, and the plan of a run. */
async function initAndPlan(
  name: string,
  words: readonly string[],
  { out = `${name}.yaml`, env = {} }: { readonly out?: string | undefined; readonly env?: Environment } = {},
) {
  await mkdir(dirname(join(folder, out)), { recursive: true });
  const more = ['--out', out, '--workspace', `of-${name}`];
  const inspection = jsonOf(await kdSpec(['init', ...words, ...more, '--json'], { folder, env }));
  const plan = await kdSpec(['run', out, '--dry-run', '--json', '--workspace', `of-${name}`], { folder });
  return { inspection, plan: jsonOf(plan), text: await readFile(join(folder, out), 'utf8') };
}

describe('a run takes what init writes for', () => {
  test('a folder of images', async () => {
    const { inspection, plan, text } = await initAndPlan('photos', ['--source', 'photos']);
    expect(inspection).toMatchObject({ kind: 'image-folder', side: size, isGrey: false, features: null });
    expect(plan).toMatchObject({ dataset: { classes: 3, image: { height: 16, channels: 3 } } });
    for (const key of ['imageSize', 'channels', 'validationFraction', 'testFraction'])
      expect(text).toMatch(new RegExp(`^ {2}${key}: `, 'm'));
  });

  test('a table', async () => {
    const words = ['--source', 'table/labels.csv', '--image-column', 'picture', '--label-column', 'other'];
    const { inspection, plan } = await initAndPlan('table', words);
    expect(inspection).toMatchObject({ kind: 'image-table' });
    expect(plan).toMatchObject({ dataset: { classes: 2 } });
  });

  test('a folder of IDX files, which have a size, a colour and a test part of their own', async () => {
    const { inspection, plan, text } = await initAndPlan('idx', ['--source', 'idx']);
    expect(inspection).toMatchObject({ kind: 'idx', side: 10, isGrey: true });
    expect(plan).toMatchObject({ dataset: { classes: 3, image: { height: 10, width: 10, channels: 1 } } });
    expect(text).toMatch(/^ {2}validationFraction: /m);
    expect(text).not.toMatch(/imageSize|channels|testFraction/);
  });

  test.each(['features.npz', 'arrays'])('features without logits: %s', async (source) => {
    const { inspection, plan, text } = await initAndPlan(source, ['--source', source]);
    expect(inspection).toMatchObject({
      kind: 'features',
      features: { numbers: 5, logits: 0 },
      isGrey: null,
      side: null,
    });
    expect(plan).toMatchObject({ dataset: { classes: 3, image: { width: 5, isFeatures: true } } });
    expect(text).toMatch(/^ {2}testFraction: /m);
    expect(text).toMatch(/^generalist:/m);
    expect(text).not.toMatch(/imageSize|channels/);
  });

  test('features with logits, which are the generalist', async () => {
    const { inspection, text } = await initAndPlan('with-logits', ['--source', 'with-logits.npz']);
    expect(inspection).toMatchObject({ features: { numbers: 5, logits: 3 } });
    expect(text).not.toMatch(/^generalist:/m);
    const told = await kdSpec(['init', '--source', 'with-logits.npz', '--out', 'told.yaml'], { folder });
    expect(told.stdout).toMatch(/features +5 numbers each, and logits of 3 classes/);
    expect(told.stdout).not.toMatch(/colour|images/);
    expect(told.stdout).toMatch(/rows +\d+ training/);
    const few = ['--source', 'features.npz', '--validation-fraction', '0.05', '--workspace', 'few'];
    for (const command of [
      ['init', '--out', 'few.yaml'],
      ['dataset', '--dry-run'],
    ])
      expect((await kdSpec([...command, ...few], { folder })).stderr).toMatch(/\d validation rows /);
  });

  test('a Parquet file of the Hub', async () => {
    const words = ['--source', 'hub.parquet', '--group', 'vendor'];
    const { inspection, plan, text } = await initAndPlan('hub', words);
    expect(inspection).toMatchObject({ kind: 'parquet', isGrey: false });
    expect(plan).toMatchObject({ dataset: { classes: 3, image: { channels: 3 } } });
    expect(text).toMatch(/^ {2}group: vendor /m);
  });

  test('a data set that kd-spec makes itself, whose settings it has already', async () => {
    const env = { KD_SPEC_CLASSES: '20', KD_SPEC_IMAGES_PER_CLASS: '5', KD_SPEC_CLASES: '3' };
    const { inspection, plan, text } = await initAndPlan('made', ['--source', 'jft-like'], { env });
    expect(inspection.warnings[0]).toMatch('the environment variable KD_SPEC_CLASES sets no option');
    expect(plan).toMatchObject({ dataset: { classes: 20 } });
    expect(text).toMatch(/^ {2}source: jft-like /m);
    expect(text).not.toMatch(/imageSize|channels|Fraction/);
  });
});

describe('what init was given stands in the pipeline', () => {
  test.each<{
    readonly name: string;
    readonly flags: Readonly<Record<string, string>>;
    readonly env?: Environment;
    readonly out?: string;
  }>([
    {
      name: 'a table',
      flags: {
        source: 'table/labels.csv',
        'image-column': 'picture',
        'label-column': 'kind',
        'class-names': 'class names.txt',
        group: 'vendor',
        'validation-fraction': '0.2',
        'test-fraction': '0.25',
        'image-size': '12x24',
      },
      env: { KD_SPEC_STRENGTH: '0.5', KD_SPEC_CHANNELS: '1', KD_SPEC_ON_ERROR: 'skip' },
      out: 'below/kd-spec.yaml', // its data lie outside of its folder
    },
    {
      name: 'images whose paths name their groups',
      flags: { source: 'photos', group: '([^/_]+)_[^/]*$', seed: '7' },
      env: { KD_SPEC_VALIDATION_FRACTION: '0.3' },
    },
    {
      name: 'features',
      flags: { source: 'features.npz', 'class-names': 'class names.txt', 'label-column': 'label' },
    },
    {
      name: 'a model',
      flags: {
        source: 'pictures',
        onnx: 'free.onnx',
        labels: 'colours.txt',
        layout: 'channels-first',
        logits: 'logits',
        features: 'features',
        'image-size': String(size),
      },
      env: { KD_SPEC_BYSTANDERS: 'others', KD_SPEC_HOLD_OUT: '5%', KD_SPEC_IMAGE_MEAN: '0.5,0.4,0.3' },
    },
    {
      name: 'a sequence recogniser',
      flags: { source: 'pictures', onnx: 'sequence.onnx', blank: '0' },
    },
  ])('$name', async ({ name, flags, env = {}, out }) => {
    const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
    const place = name.replaceAll(' ', '-');
    const { text } = await initAndPlan(place, words, { env, out });
    for (const line of text.split('\n').filter((one) => /: \S/.test(one))) expect(line).toMatch(/# \S/);
    const given = await resolveSettings(flags, env, { folder });
    const pipeline = join(folder, out ?? `${place}.yaml`);
    const kept = await resolveSettings({ pipeline }, {}, { folder });
    const keys = listedOptions.filter(({ flag, environment }) => flag in flags || environment in env);
    expect(keys).toHaveLength(Object.keys(flags).length + Object.keys(env).length);
    for (const listed of keys) {
      const key = keyOf(listed);
      const of = (settings: typeof kept.settings) => ({ [key]: settingAt(settings, listed.path) });
      expect(of(kept.settings)).toEqual(of(given.settings));
      expect([key, kept.origins.get(key)?.kind]).toEqual([key, 'pipeline']);
    }
  });

  test('paths below the folder of the file are relative, long ones too, and others are not', async () => {
    const long = join('a folder whose name goes on '.repeat(4).trim(), 'and on '.repeat(6).trim());
    await mkdir(join(folder, long), { recursive: true });
    await writeFile(join(folder, long, 'names: all.txt'), 'zero\none\ntwo\n');
    const words = ['--source', 'features.npz', '--class-names', join(long, 'names: all.txt')];
    const { text } = await initAndPlan('long', words);
    expect(text).toMatch(/^ {2}source: \.\/features\.npz /m);
    expect(text).toContain(`classNames: "./${join(long, 'names: all.txt')}" `);
    const below = await initAndPlan('outside', ['--source', 'features.npz'], { out: 'below/outside.yaml' });
    expect(below.text).toContain(`source: ${join(folder, 'features.npz')} `);
  });

  test('a new look goes before what an earlier run left in the workspace, which goes along where none is taken', async () => {
    const flags = ['--image-size', '24', '--channels', '1', '--group', '([^/_]+)_[^/]*$'];
    const words = ['--source', 'photos', '--workspace', 'earlier'];
    expect((await kdSpec(['dataset', ...words, ...flags], { folder })).code).toBe(0);
    expect((await kdSpec(['init', ...words, '--out', 'again.yaml'], { folder })).code).toBe(0);
    const text = await readFile(join(folder, 'again.yaml'), 'utf8');
    expect(text).toMatch(/imageSize: 16 +# pixels/);
    expect(text).toMatch(/channels: 3 +# colour/);
    expect(text).toMatch(/group: .*# as the pipeline in force has it/);
  });
});

test.each([
  [['--source', 'idx', '--image-size', '28'], /--image-size does nothing for a folder of IDX files/],
  [['--source', 'idx', '--test-fraction', '0.2'], /--test-fraction does nothing for a folder of IDX files/],
  [['--source', 'photos', '--class-names', 'class names.txt'], /--class-names does nothing for a folder/],
  [['--source', 'photos', '--labels', 'colours.txt'], /--labels would do nothing: .*--onnx/],
  [['--source', 'features.npz', '--onnx', 'free.onnx'], /--onnx takes images, and .* holds features/],
])('what a run would refuse is refused before anything is written: init %j', async (words, message) => {
  const { code, stderr } = await kdSpec(['init', ...words, '--out', 'refused.yaml'], { folder });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(message);
  expect(existsSync(join(folder, 'refused.yaml'))).toBe(false);
});
