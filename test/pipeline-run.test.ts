import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readManifest } from '../src/core/artefact.js';
import { KdSpecError } from '../src/core/errors.js';
import { type Log, silentLog } from '../src/core/log.js';
import { planStages } from '../src/pipeline/plan.js';
import { runStages } from '../src/pipeline/run.js';
import { resolveSettings } from '../src/pipeline/settings.js';
import type { Stage, StageContext } from '../src/pipeline/stage.js';
import type { StageName } from '../src/pipeline/stage-names.js';
import { stages } from '../src/pipeline/stages/index.js';

/** The real stages with their real needs, doing work that can be checked: a file that depends on what it may. */
const output: Record<StageName, (context: StageContext) => Promise<string>> = {
  dataset: async ({ settings: { dataset, seed } }) => `${seed} ${dataset.classes}`,
  generalist: async (context) =>
    `${await inputOf(context, 'dataset')} / ${context.settings.generalist.epochs}`,
  predictions: async (context) => `${await inputOf(context, 'generalist')}`.slice(0, 4),
  subsets: async ({ settings }) => `${settings.subsets.clusters}`,
  specialists: async (context) => inputOf(context, 'subsets'),
  ensemble: async (context) => inputOf(context, 'specialists'),
  rivals: async (context) => inputOf(context, 'ensemble'),
  answers: async (context) => inputOf(context, 'ensemble'),
  student: async (context) => inputOf(context, 'answers'),
  report: async (context) => inputOf(context, 'ensemble'),
};
const inputOf = (context: StageContext, stage: StageName) =>
  readFile(join(context.input(stage), 'output.txt'), 'utf8');

let ran: StageName[];
const fakeStages = (before: (context: StageContext, stage: StageName) => Promise<void> = async () => {}) =>
  stages.map(
    (stage): Stage => ({
      ...stage,
      run: async (context) => {
        ran.push(stage.name);
        await before(context, stage.name);
        await writeFile(join(context.directory, 'output.txt'), await output[stage.name](context));
        return { length: 3 };
      },
    }),
  );

let folder: string;
beforeEach(async () => {
  ran = [];
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-run-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

const place = (...parts: string[]) => join(folder, 'kd-workspace', ...parts);
const settle = (flags: Readonly<Record<string, string | boolean>> = {}) =>
  resolveSettings(flags, {}, { folder });
async function run(
  target: StageName,
  flags: Readonly<Record<string, string | boolean>> = {},
  {
    fakes = fakeStages(),
    log = silentLog,
    signal = new AbortController().signal,
  }: { fakes?: readonly Stage[]; log?: Log; signal?: AbortSignal } = {},
) {
  ran = [];
  return runStages(fakes, target, await settle(flags), { log, signal });
}
const planned = async (target: StageName, flags: Readonly<Record<string, string | boolean>> = {}) =>
  (await planStages(stages, target, await settle(flags))).stages.map(
    ({ stage, status, reasons }) => `${stage}: ${status}${reasons.length ? ` (${reasons.join(', ')})` : ''}`,
  );

describe('what is made', () => {
  test('is what the target needs, in order, once', async () => {
    expect(await planned('subsets', { classes: '10' })).toEqual([
      'dataset: make (missing)',
      'generalist: make (missing)',
      'predictions: make (missing)',
      'subsets: make (missing)',
    ]);
    await run('subsets', { classes: '10' });
    expect(ran).toEqual(['dataset', 'generalist', 'predictions', 'subsets']);
    await run('subsets');
    expect(ran).toEqual([]);
    await run('report');
    expect(ran).toEqual(['specialists', 'ensemble', 'report']);
  });

  test('is recorded in the manifest', async () => {
    await run(
      'generalist',
      { classes: '10', 'shard-megabytes': '3' },
      {
        fakes: fakeStages(async (context) => context.usesBackend('wasm')),
      },
    );
    const dataset = await readManifest(place('dataset'));
    const generalist = await readManifest(place('generalist'));
    expect(dataset.parameters).toMatchObject({ classes: 10, shardMegabytes: 3 });
    expect(generalist).toMatchObject({
      stage: 'generalist',
      seed: 1,
      backend: 'wasm',
      inputs: { dataset: dataset.digest },
      metrics: { length: 3 },
      parameters: { epochs: 100, 'network.dense': [192] },
    });
  });

  test('is computed on the backend of the generalist, unless one is named', async () => {
    const seen: Partial<Record<StageName, string>> = {};
    const fakes = fakeStages(async (context, stage) => {
      seen[stage] = context.backend;
      if (stage === 'generalist') context.usesBackend('wasm');
    });
    await run('predictions', { classes: '10' }, { fakes });
    expect(seen).toMatchObject({ generalist: 'auto', predictions: 'wasm' });
    await run('subsets', { backend: 'tensorflow' }, { fakes });
    expect(seen.subsets).toBe('tensorflow');
  });

  test('is made again when an option that affects results changes, and only then', async () => {
    await run('subsets', { classes: '10' });
    expect(await planned('subsets', { epochs: '3', clusters: '4' })).toEqual([
      'dataset: up-to-date',
      'generalist: make (epochs 100 → 3)',
      'predictions: make (its input generalist is to be made)',
      'subsets: make (clusters none → 4, its input predictions is to be made)',
    ]);
    expect(await planned('dataset', { seed: '2' })).toEqual(['dataset: make (seed 1 → 2)']);
    await run('subsets', { 'shard-megabytes': '9', 'checkpoint-seconds': '5', backend: 'wasm' });
    expect(ran).toEqual([]);
  });

  test('is made with settings that the workspace remembers when all of it is done, and not before', async () => {
    const remembered = () => readFile(place('pipeline.yaml'), 'utf8').catch(() => undefined);
    const failing = fakeStages(async (_, stage) => {
      if (stage === 'generalist') throw new Error('crash');
    });
    await expect(run('generalist', { classes: '10' }, { fakes: failing })).rejects.toThrow('crash');
    expect(await remembered()).toBeUndefined();
    await run('generalist', { classes: '10' });
    const first = await remembered();
    expect(first).toContain('classes: 10');
    await expect(run('generalist', { classes: '10', epochs: '3' }, { fakes: failing })).rejects.toThrow();
    expect(await remembered()).toBe(first);
    expect(await planned('generalist')).toEqual(['dataset: up-to-date', 'generalist: up-to-date']);

    const submitting = fakeStages(async (_, stage) => {
      if (stage === 'specialists') throw new KdSpecError('jobs-under-way', 'submitted');
    });
    const submitted = run('specialists', { 'specialist-epochs': '7' }, { fakes: submitting });
    await expect(submitted).rejects.toMatchObject({ code: 'jobs-under-way' });
    expect(await remembered()).toContain('epochs: 7');
  });

  test('stops where an input that was made again came out the same', async () => {
    await run('subsets', { classes: '10' });
    const said: string[] = [];
    const log = { ...silentLog, info: (message: string) => said.push(message) };
    await run('subsets', { epochs: '3' }, { log });
    expect(ran).toEqual(['generalist', 'predictions']);
    expect(said.at(-1)).toBe('subsets: up to date after all, its inputs came out the same');
  });

  test('is made again when its files are damaged, or its input is not the one it was made from', async () => {
    await run('generalist', { classes: '10' });
    const file = place('generalist', 'output.txt');
    await writeFile(file, '1 10 / 101');
    await utimes(file, new Date(), new Date(Date.now() + 5000));
    expect(await planned('generalist')).toEqual([
      'dataset: up-to-date',
      'generalist: make (its files are damaged: output.txt does not have the content that was written)',
    ]);
    await run('generalist');
    await run('dataset', { classes: '11' });
    expect(await planned('generalist')).toEqual([
      'dataset: up-to-date',
      'generalist: make (its input dataset changed)',
    ]);
    await writeFile(place('dataset', 'manifest.json'), 'x');
    expect((await planned('dataset'))[0]).toBe('dataset: make (its manifest is damaged)');
  });

  test('needs neither data nor generalist when predictions come from elsewhere', async () => {
    const rows = join(folder, 'rows.arrow');
    await writeFile(rows, 'rows');
    await run('subsets', { predictions: rows });
    expect(ran).toEqual(['subsets']);
    expect(await planned('subsets')).toEqual(['subsets: up-to-date']);
    await writeFile(rows, 'other rows');
    expect(await planned('subsets')).toEqual(['subsets: make (its input subsets.predictions changed)']);
    await expect(planned('subsets', { predictions: 'nowhere' })).rejects.toMatchObject({ code: 'not-found' });
  });

  test('makes subsets again when the file that they were taken from changed, or is no longer given', async () => {
    const subsets = join(folder, 'subsets.json');
    const given = (...classes: readonly number[]) =>
      writeFile(subsets, JSON.stringify({ classes: 10, subsets: [{ id: 0, classes }] }));
    await given(0, 1);
    await run('subsets', { subsets, classes: '10' });
    expect((await planned('subsets')).at(-1)).toBe('subsets: up-to-date');
    await given(2, 3);
    expect((await planned('subsets')).at(-1)).toBe('subsets: make (its input subsets.file changed)');
    expect((await planned('subsets', { subsets: 'none' })).at(-1)).toMatch(
      /^subsets: make \(.*subsets\.file/,
    );
  });
});

describe('an interrupted run', () => {
  const checkpointThen = (after: (controller: AbortController) => void, controller: AbortController) =>
    fakeStages(async ({ directory, signal }, stage) => {
      if (stage !== 'generalist') return;
      await writeFile(join(directory, 'checkpoint'), 'half');
      after(controller);
      if (signal.aborted) throw new KdSpecError('interrupted', 'checkpoint kept');
    });

  async function interrupt() {
    const controller = new AbortController();
    const fakes = checkpointThen((it) => it.abort(), controller);
    const outcome = run('generalist', { classes: '10' }, { fakes, signal: controller.signal });
    await expect(outcome).rejects.toMatchObject({ code: 'interrupted' });
  }
  const checkpointOf = (seen: (string | undefined)[]) =>
    fakeStages(async ({ directory }, stage) => {
      if (stage !== 'generalist') return;
      const checkpoint = join(directory, 'checkpoint');
      seen.push(await readFile(checkpoint, 'utf8').catch(() => undefined));
      await rm(checkpoint, { force: true });
    });

  test('keeps what was finished, and goes on from the checkpoint', async () => {
    await interrupt();
    expect(await planned('generalist', { classes: '10' })).toEqual([
      'dataset: up-to-date',
      'generalist: continue (missing)',
    ]);
    const seen: (string | undefined)[] = [];
    await run('generalist', { classes: '10' }, { fakes: checkpointOf(seen) });
    expect(seen).toEqual(['half']);
    expect(ran).toEqual(['generalist']);
    expect((await readManifest(place('generalist'))).files.map(({ path }) => path)).toEqual(['output.txt']);
  });

  test.each([
    ['other settings', { epochs: '3' }],
    ['--no-resume', { resume: false }],
  ])('is not continued with %s', async (_, flags: Record<string, string | boolean>) => {
    await interrupt();
    const seen: (string | undefined)[] = [];
    await run('generalist', { classes: '10', ...flags }, { fakes: checkpointOf(seen) });
    expect(seen).toEqual([undefined]);
  });

  test('stops between two stages', async () => {
    const controller = new AbortController();
    const fakes = fakeStages(async () => controller.abort());
    await expect(
      run('generalist', { classes: '10' }, { fakes, signal: controller.signal }),
    ).rejects.toMatchObject({
      code: 'interrupted',
    });
    expect(ran).toEqual(['dataset']);
    await run('dataset', { classes: '10' });
    expect(ran).toEqual([]);
  });

  test('that failed leaves the workspace free and the older artefact whole', async () => {
    await run('dataset', { classes: '10' });
    const failing = fakeStages(async () => {
      throw new Error('crash');
    });
    await expect(run('dataset', { classes: '20' }, { fakes: failing })).rejects.toThrow('crash');
    expect((await readManifest(place('dataset'))).parameters).toMatchObject({ classes: 10 });
    await run('dataset', { classes: '20' });
    expect(ran).toEqual(['dataset']);
  });
});

test('a full disk is named as such, whichever stage wrote', async () => {
  const fakes = fakeStages(async () => {
    throw Object.assign(new Error('write'), { code: 'ENOSPC' });
  });
  await expect(run('dataset', { classes: '10' }, { fakes })).rejects.toMatchObject({ code: 'disk-full' });
});

test('two runs do not work in one workspace', async () => {
  const fakes = fakeStages(async () => {
    await expect(settle().then((it) => runStages(stages, 'dataset', it, quiet))).rejects.toMatchObject({
      code: 'workspace-busy',
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });
  const quiet = { log: silentLog, signal: new AbortController().signal };
  await run('dataset', { classes: '10' }, { fakes });
  expect(ran).toEqual(['dataset']);
});
