import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';
import { keyOf, listedOptions } from '../src/pipeline/option-list.js';
import { checkValue, parseText } from '../src/pipeline/option-values.js';
import { findPipelineFile, readPipelineFile } from '../src/pipeline/pipeline-file.js';
import { rememberedValues, resolveSettings } from '../src/pipeline/settings.js';
import { rememberSettings } from '../src/pipeline/workspace-pipeline.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-settings-'));
  await mkdir(join(folder, 'datasets', 'han'), { recursive: true });
  await writeFile(
    join(folder, 'datasets', 'han', 'dataset.yaml'),
    'classes: 500\nimageSize: 28\ncopies: 4\n',
  );
  await writeFile(join(folder, 'default.yaml'), 'dataset:\n  source: jft-like\n  classes: 15000\n');
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

const write = async (name: string, text: string) => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};
const resolve = (
  flags: Readonly<Record<string, string | boolean>>,
  env: Readonly<Record<string, string>> = {},
  pipelineFile?: string,
) =>
  resolveSettings({ ...flags, ...(pipelineFile !== undefined && { pipeline: pipelineFile }) }, env, {
    folder,
    defaultPipeline: join(folder, 'default.yaml'),
    datasetsFolder: join(folder, 'datasets'),
  });

/** A test's title names a long text by its beginning. */
function withTitles(rows: readonly (readonly [text: string, line: number, message: string])[]) {
  return rows.map(
    ([text, line, message]) => [JSON.stringify(text).slice(0, 80), line, text, message] as const,
  );
}

describe('the table', () => {
  test('a comma inside of a text is written with a backslash', () => {
    const teachers = listedOptions.find(({ flag }) => flag === 'teacher')?.option;
    if (teachers === undefined) throw new Error('no such option');
    expect(parseText(teachers, 'ensemble, models/a\\,b.onnx')).toEqual({
      value: ['ensemble', 'models/a,b.onnx'],
    });
  });

  test('gives every option flag, environment name and key of its own', () => {
    for (const names of [
      listedOptions.map(({ flag }) => flag),
      listedOptions.map(({ environment }) => environment),
      listedOptions.map(keyOf),
    ]) {
      expect(new Set(names).size).toBe(names.length);
    }
    expect(listedOptions.length).toBeGreaterThan(50);
  });

  test.each(listedOptions.map((listed) => [keyOf(listed), listed.option] as const))(
    'has a default for %s that the option takes',
    (_, option) => {
      expect(checkValue(option, option.default as never)).toHaveProperty('value');
    },
  );

  test('reads numbers back from their text', () => {
    for (const { option } of listedOptions) {
      if (option.type !== 'integer' && option.type !== 'number') continue;
      const numbers =
        option.type === 'integer'
          ? fc.integer({ min: option.min, max: option.max })
          : fc.double({ min: option.min, max: option.max, noNaN: true });
      fc.assert(
        fc.property(numbers, (value) => {
          expect(parseText(option, String(value))).toEqual({ value: Number(String(value)) });
        }),
        { numRuns: 10 },
      );
      for (const text of ['', 'x', '1e999', 'NaN', String(option.max * 2 + 1)]) {
        expect(parseText(option, text)).toHaveProperty('expected');
      }
    }
  });
});

describe('precedence', () => {
  test('is flag, environment, pipeline, data set, table', async () => {
    const file = await write('p.yaml', 'dataset:\n  source: han\n  classes: 40\n  imageSize: 32\n');
    const { settings, origins } = await resolve(
      { classes: '20' },
      { KD_SPEC_CLASSES: '30', KD_SPEC_IMAGE_SIZE: '24' },
      file,
    );
    expect(settings.dataset).toMatchObject({ source: 'han', classes: 20, imageSize: 24, copies: 4 });
    expect(settings.generalist.network.dense).toEqual([192]);
    expect(origins.get('dataset.classes')).toEqual({ kind: 'flag', where: '--classes' });
    expect(origins.get('dataset.imageSize')).toEqual({ kind: 'environment', where: 'KD_SPEC_IMAGE_SIZE' });
    expect(origins.get('dataset.source')).toEqual({ kind: 'pipeline', where: `${file}:2` });
    expect(origins.get('dataset.copies')?.kind).toBe('dataset');
    expect(origins.get('generalist.epochs')?.kind).toBe('default');
  });

  test('leaves out the data set that the pipeline describes when another one is chosen', async () => {
    const { settings } = await resolve({ source: 'han' });
    expect(settings.dataset).toMatchObject({ source: 'han', classes: 500 });
    expect((await resolve({})).settings.dataset).toMatchObject({ source: 'jft-like', classes: 15_000 });
  });

  test('goes on with the settings of the last command', async () => {
    const first = await resolve({ classes: '2000', convolutions: '8,16', quiet: true, 'max-size': 'none' });
    await rememberSettings(first);
    const second = await resolve({ epochs: '3' });
    expect(second.settings.dataset.classes).toBe(2000);
    expect(second.settings.generalist).toMatchObject({ epochs: 3, network: { convolutions: [8, 16] } });
    expect(second.settings.quiet).toBe(false);
    expect(second.pipeline).toBe(join(folder, 'kd-workspace', 'pipeline.yaml'));
    expect(rememberedValues(second)).toEqual({
      dataset: { source: 'jft-like', classes: 2000 },
      generalist: { network: { convolutions: [8, 16] }, epochs: 3 },
      subsets: { maxSize: null },
    });
    const named = await resolve({}, {}, join(folder, 'default.yaml'));
    expect(named.settings.dataset.classes).toBe(15_000);
  });

  test('starts relative paths at the file they stand in, or at the current folder', async () => {
    await mkdir(join(folder, 'deep'));
    const file = await write(
      'deep/p.yaml',
      'workspace: w\nsubsets: { predictions: rows }\ndataset: { source: images }\n',
    );
    const { settings } = await resolve({}, {}, file);
    expect(settings.workspace).toBe(join(folder, 'deep', 'w'));
    expect(settings.subsets.predictions).toBe(join(folder, 'deep', 'rows'));
    expect(settings.dataset.source).toBe(join(folder, 'deep', 'images'));
    expect((await resolve({ source: './images' })).settings.dataset.source).toBe(join(folder, 'images'));
  });
});

describe('values are read from text', () => {
  test('of every type', async () => {
    const { settings } = await resolve({
      fonts: '@fontsource/a,b+c',
      'code-points': '0x4E00-U+9FFF',
      'image-size': '24 x 48',
      parallel: '',
      'hang-seconds': 'none',
      calibrate: false,
      dense: 'none',
      channels: '3',
      'learning-rate': '1e-3',
    });
    expect(settings.dataset).toMatchObject({
      fonts: ['@fontsource/a', ['b', 'c']],
      codePoints: [0x4e00, 0x9fff],
      imageSize: '24x48',
      channels: 3,
    });
    expect(settings.specialists).toMatchObject({ parallel: 'auto', hangSeconds: null });
    const without = await resolve({ parallel: 'none' });
    expect(without.settings.specialists.parallel).toBe(null);
    expect(settings.ensemble.calibrate).toBe(false);
    expect(settings.generalist).toMatchObject({ learningRate: 0.001, network: { dense: [] } });
  });

  test.each([
    [
      { 'image-size': '48x4' },
      '--image-size: expected an integer from 8 to 512, or height and width, as in 48x320',
    ],
    [{ classes: '1' }, '--classes: expected an integer from 2 to 1000000, or none, got "1"'],
    [{ affinity: 'cov' }, '--affinity: expected one of covariance, confusion, got "cov"'],
    [{ convolutions: '32,x' }, '--convolutions: expected integers'],
  ])('%j is refused', async (flags: Record<string, string>, message) => {
    await expect(resolve(flags)).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringContaining(message),
    });
  });

  test('an environment variable that sets nothing is mentioned, one out of range refused', async () => {
    const { warnings } = await resolve({}, { KD_SPEC_CLASES: '3', KD_SPEC_DEBUG: '1', HOME: '/' });
    expect(warnings).toEqual([
      'the environment variable KD_SPEC_CLASES sets no option (did you mean "KD_SPEC_CLASSES"?)',
    ]);
    await expect(resolve({}, { KD_SPEC_EPOCHS: 'many' })).rejects.toThrow(
      'KD_SPEC_EPOCHS: expected an integer',
    );
  });
});

/** Ten aliases of ten aliases of ten: short in a file, long in memory. */
const bomb = `generalist:
  network:
    dense:
      - &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
      - &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
${['bc', 'cd', 'de'].map(([from, to]) => `      - &${to} [${Array(10).fill(`*${from}`).join(', ')}]\n`).join('')}`;

describe('a pipeline file', () => {
  test.each(
    withTitles([
      ['seed: 1\ndataset:\n  clases: 5\n', 3, 'unknown key "dataset.clases" (did you mean "classes"?)'],
      ['generalst: {}\n', 1, 'did you mean "generalist"?'],
      ['dataset:\n  epochs: 3\n', 2, 'there is generalist.epochs'],
      [
        '# note\n\ngeneralist:\n  epochs: 0\n',
        4,
        'generalist.epochs: expected an integer from 1 to 100000, got 0',
      ],
      ['generalist:\n  network:\n    dense: 3\n', 3, 'generalist.network.dense: expected integers'],
      ['dataset: 5\n', 1, 'dataset is to be a mapping of source, classes'],
      ['- 1\n', 1, 'the file is to be a mapping'],
      ['seed: 1\nseed: 2\n', 2, 'not YAML'],
      ['a: "\n\n', 1, 'not YAML'],
      ['quiet: true\n', 1, 'unknown key "quiet"'],
      ['__proto__: 1\n', 1, 'unknown key'],
      ['"a\\u001b[31m": 1\n', 1, 'unknown key "a\\u001b[31m"'],
      ['generalist:\n  epochs: *nowhere\n', 2, 'not YAML'],
      ['generalist:\n  epochs: !foo 3\n', 2, 'not YAML'],
      ['seed: 1\n---\nseed: 2\n', 2, 'not YAML'],
      ['generalist:\n  network:\n    dense: &a [1, *a]\n', 3, 'a value that contains itself'],
      ['generalist: &g\n  network: *g\n', 2, 'unknown key "generalist.network.network"'],
      ['workspace: "a\\0b"\n', 1, 'workspace: expected a path without a NUL character, got "a\\u0000b"'],
      ['dataset:\n  source: "a\\0b"\n', 2, 'dataset.source: expected a text without a NUL character'],
      ['answers:\n  teachers: ["a\\0b"]\n', 2, 'answers.teachers: expected texts'],
      ['generalist:\n  learningRate: .nan\n', 2, 'got NaN'],
      ['generalist:\n  epochs: 1e999\n', 2, 'got Infinity'],
      ['generalist:\n  <<: { epoch: 2 }\n', 2, 'unknown key "generalist.epoch"'],
      ['generalist:\n  <<: [{ seed: 1 }, { epochs: 0 }]\n', 2, 'generalist.epochs: expected'],
      ['? [a, b]\n: 1\n', 1, 'unknown key'],
      [`seed: ${'[ '.repeat(20_000)}\n`, 1, 'not YAML'],
      [bomb, 0, 'not YAML that can be read'],
      ['version https://git-lfs.github.com/spec/v1\noid sha256:ab\n', 0, 'it is a Git LFS pointer'],
      ['%YAML 1.1\n---\ngeneralist:\n  epochs: 2001-01-01\n', 4, 'expected an integer'],
    ]),
  )('with %s is refused at line %i', async (_title, line, text, message) => {
    const path = await write('bad.yaml', text);
    const error = await readPipelineFile(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'pipeline-invalid', message: expect.stringContaining(message) });
    expect(String(error)).toContain(
      line === 0 || (line === 1 && text.startsWith('a')) ? path : `${path}:${line}:`,
    );
    expect(String(error).length).toBeLessThan(600);
  });

  test('may merge mappings and name them by aliases, and each value knows its line', async () => {
    const path = await write(
      'merged.yaml',
      'generalist: &g\n  epochs: 2\n  batchSize: 64\nspecialists:\n  <<: *g\n  epochs: 3\nstudent: *g\n',
    );
    expect(Object.fromEntries((await readPipelineFile(path)).values)).toEqual({
      'generalist.epochs': { value: 2, where: `${path}:2` },
      'generalist.batchSize': { value: 64, where: `${path}:3` },
      'specialists.epochs': { value: 3, where: `${path}:6` },
      'specialists.batchSize': { value: 64, where: `${path}:3` },
      'student.epochs': { value: 2, where: `${path}:2` },
      'student.batchSize': { value: 64, where: `${path}:3` },
    });
  });

  test.skipIf(process.platform === 'win32')('that never ends is not read to its end', async () => {
    await expect(readPipelineFile('/dev/zero')).rejects.toMatchObject({ code: 'pipeline-invalid' });
  });

  test('that is empty sets nothing', async () => {
    expect((await readPipelineFile(await write('empty.yaml', '# nothing\n'))).values.size).toBe(0);
  });

  test('of the package is found by its name, and every one of them is valid and says how to run it', async () => {
    const names = await readdir(join(packageFolder(), 'pipelines'));
    for (const name of names) {
      const path = await findPipelineFile(`pipelines/${name}`, folder);
      expect(path).toBe(await findPipelineFile(name.replace('.yaml', ''), folder));
      await resolveSettings({ pipeline: path }, {}, { folder });
    }
    await expect(findPipelineFile('quickstrat', folder)).rejects.toThrow('did you mean "quickstart"?');
  });
});
