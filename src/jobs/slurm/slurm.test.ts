import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { plainSlurm } from '../../../test/support/slurm.js';
import { silentLog } from '../../core/log.js';
import type { SpecialistWork } from '../specialist-work.js';
import {
  type CommandEnd,
  parseVersion,
  type RunCommand,
  readCluster,
  runSlurmCommand,
  slurmOutput,
} from './commands.js';
import {
  findLostArrays,
  isLive,
  parseAccounting,
  parseControllerJobs,
  parseQueue,
  queryTasks,
} from './queue.js';
import { createSlurm } from './slurm-engine.js';
import { parseTimeLimit, type SlurmOptions, warningSeconds } from './slurm-options.js';
import { readSlurmState, type SlurmArray, writeSlurmState } from './state.js';
import { batchScript, sbatchWords, submitArrays } from './submission.js';

/** What is read from Slurm's commands and said to them. A real Slurm stands behind test/slurm.test.ts. */
const said = (stdout: string): CommandEnd => ({ code: 0, stdout, stderr: '' });
const array = (positions: readonly number[], jobId: string | null = null): SlurmArray => ({
  name: 'kd-spec-x',
  jobId,
  cluster: null,
  positions: [...positions],
  submittedAt: '2026-01-01T00:00:00.000Z',
});
const workOf = (workspace: string, specialists: number): SpecialistWork => ({
  directory: join(workspace, 'specialists'),
  generalist: 'g',
  dataset: 'd',
  inputs: {},
  subsets: Array.from({ length: specialists }, (_, id) => ({ id, classes: [id] })),
  labelCounts: Array(specialists).fill(1),
  training: { seed: 1 } as SpecialistWork['training'],
  backend: 'wasm',
});

describe('the cluster', () => {
  test.each([
    ['slurm-wlm 22.05.8', '22.05.8'],
    ['slurm 20.11.9\n', '20.11.9'],
    ['slurm 25.05.0-0rc1', '25.05.0-0rc1'],
  ])('%s is version %s', (text, version) => {
    expect(parseVersion(text)).toBe(version);
  });

  test.each(['slurm 19.05.5', 'slurm 20.02.7', 'nothing of the kind'])('%s is refused', (text) => {
    expect(() => parseVersion(text)).toThrow(expect.objectContaining({ code: 'slurm-failed' }));
  });

  test('without arrays is refused', async () => {
    const run: RunCommand = async (name) =>
      said(name === 'sbatch' ? 'slurm 23.11.4' : 'MaxArraySize            = 0\n');
    await expect(readCluster(run)).rejects.toMatchObject({ code: 'slurm-failed' });
  });

  test('a command that is not there, or that fails, is a clear error', async () => {
    await expect(runSlurmCommand('no-such-slurm-command', [])).rejects.toMatchObject({
      code: 'slurm-failed',
      message: expect.stringContaining('no-such-slurm-command'),
    });
    const fails: RunCommand = async () => ({ code: 1, stdout: '', stderr: 'invalid partition\nfailed\n' });
    await expect(slurmOutput(fails, 'sbatch', [])).rejects.toThrow(
      'sbatch ended with 1 and printed: invalid partition; failed',
    );
  });
});

describe('time limits', () => {
  test.each([
    ['90', 5400],
    ['1:30', 90],
    ['4:00:00', 14_400],
    ['2-0', 172_800],
    ['1-2:30', 95_400],
    ['1-2:30:15', 95_415],
    ['soon', undefined],
    ['1:2:3:4', undefined],
    ['0', undefined],
  ])('%s is %s seconds', (text, seconds) => {
    expect(parseTimeLimit(text)).toBe(seconds);
  });

  test('the warning comes two minutes before, or when a quarter of a short limit is left', () => {
    expect([null, '4:00:00', '4', '1'].map(warningSeconds)).toEqual([120, 120, 60, 15]);
  });
});

describe('what sbatch is told', () => {
  test('is little by default', () => {
    expect(sbatchWords(array([3, 5]), { folder: '/w/.jobs', options: plainSlurm, after: null })).toEqual([
      '--parsable',
      '--job-name=kd-spec-x',
      '--array=0-1',
      '--requeue',
      '--open-mode=append',
      '--output=/w/.jobs/logs/%A_%a.log',
      '--signal=B:USR1@120',
      '--nodes=1',
      '--ntasks=1',
      '--cpus-per-task=1',
    ]);
  });

  test('is all that was asked for', () => {
    const options: SlurmOptions = {
      partition: 'gpu',
      account: 'vision',
      time: '2:00:00',
      memory: '8G',
      cpus: 4,
      gpus: 1,
      atMost: 10,
      options: ' --qos=long  --constraint=a100 ',
      setup: null,
    };
    const words = sbatchWords(array([0, 1, 2]), { folder: '/w', options, after: '77' });
    expect(words).toEqual(
      expect.arrayContaining([
        '--array=0-2%10',
        '--cpus-per-task=4',
        '--partition=gpu',
        '--account=vision',
        '--time=2:00:00',
        '--mem=8G',
        '--gres=gpu:1',
        '--dependency=afterany:77',
        '--qos=long',
        '--constraint=a100',
      ]),
    );
    expect(words).not.toContain('');
  });

  test('the script of a task ends as its position, whatever stands in the paths', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 20 }),
        fc.string({ unit: fc.constantFrom('a', ' ', "'", '"', '$', '\\', '*', 'é') }),
        fc.nat(),
        (positions, word, pick) => {
          const task = pick % positions.length;
          const script = batchScript({ command: ['printf', '%s|', word], positions, setup: 'x=1' });
          const printed = execFileSync('bash', [], {
            input: script,
            env: { PATH: process.env.PATH, SLURM_ARRAY_TASK_ID: String(task) },
            encoding: 'utf8',
          });
          expect(printed).toBe(`${word}|${positions[task]}|`);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('submission', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kd-spec-slurm-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('is in as few arrays as MaxArraySize allows, in a row when there is a limit to those that run', async () => {
    const calls: (readonly string[])[] = [];
    const run: RunCommand = async (_name, words) => said(`${100 + calls.push(words)};kdspec\n`);
    const positions = Array.from({ length: 25 }, (_, position) => 2 * position);
    const cluster = { version: '23.11', maxArraySize: 10, asked: null };
    const state = await submitArrays(run, folder, { work: 'w', arrays: [] }, positions, {
      command: ['train'],
      cluster,
      options: { ...plainSlurm, atMost: 3 },
    });
    expect(state.arrays.map(({ jobId, positions: of }) => [jobId, of.length])).toEqual([
      ['101', 10],
      ['102', 10],
      ['103', 5],
    ]);
    expect(state.arrays.flatMap(({ positions: of }) => of)).toEqual(positions);
    expect(calls.map((words) => words.filter((word) => /array=|dependency/.test(word)))).toEqual([
      ['--array=0-9%3'],
      ['--array=0-9%3', '--dependency=afterany:101'],
      ['--array=0-4%3', '--dependency=afterany:102'],
    ]);
    expect(await readSlurmState(folder)).toEqual(state);
  });

  test('an array whose number was lost by a kill is found by its name', async () => {
    const lost = {
      work: 'w',
      arrays: [
        { ...array([1]), name: 'kd-spec-a' },
        { ...array([2]), name: 'kd-spec-b' },
      ],
    };
    await writeSlurmState(folder, lost);
    const run: RunCommand = async (_name, words) =>
      said(words.includes('--name=kd-spec-b') ? '12\n12\n' : '');
    const state = await readSlurmState(folder);
    expect(state && (await findLostArrays(run, state)).arrays).toEqual([{ ...lost.arrays[1], jobId: '12' }]);
  });

  test('jobs that are submitted again at the same time are all remembered', async () => {
    const workspace = join(folder, 'at-once');
    let jobs = 100;
    const run: RunCommand = async (name, words) => {
      if (words[0] === '--version') return said('slurm 23.11.4');
      if (name === 'scontrol') return said('MaxArraySize = 10');
      return said(name === 'sbatch' ? `${++jobs}` : '');
    };
    const work = workOf(workspace, 3);
    const engine = createSlurm(workspace, ['train'], plainSlurm, { run, pollMs: 10_000 });
    await using opened = await engine.open(work, { log: silentLog, listener: () => {} });
    await Promise.all([0, 1, 2].map((position) => opened.submit([position])));
    const arrays = (await readSlurmState(workspace))?.arrays.map(({ jobId, positions }) => [
      jobId,
      ...positions,
    ]);
    expect(arrays).toEqual([
      ['101', 0],
      ['102', 1],
      ['103', 2],
    ]);
  });

  test('the jobs of other settings are ended before others are submitted', async () => {
    const workspace = join(folder, 'other-settings');
    await writeSlurmState(workspace, { work: 'of other settings', arrays: [array([0], '12')] });
    const calls: string[] = [];
    let looksAfterCancel = 0;
    const run: RunCommand = async (name, words) => {
      if (words[0] === '--version') return said('slurm 23.11.4');
      if (words[0] === 'show') return said('MaxArraySize = 10');
      if (name === 'scancel' || name === 'sbatch')
        calls.push(`${name} ${name === 'scancel' ? words : ''}`.trim());
      if (name === 'sbatch') return said('13');
      if (name !== 'squeue') return said('');
      // The job takes two looks to write its checkpoint and go.
      const isThere = !calls.includes('scancel 12') || ++looksAfterCancel < 2;
      return said(isThere ? '12_0|RUNNING|node1|None\n' : '');
    };
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (message: string) => warnings.push(message) };
    const engine = createSlurm(workspace, ['train'], plainSlurm, { run, pollMs: 10_000 });
    await using opened = await engine.open(workOf(workspace, 1), { log, listener: () => {} });
    expect(calls).toEqual(['scancel 12']);
    expect(looksAfterCancel).toBe(2);
    expect(warnings).toEqual(['specialists: the Slurm jobs of other settings or inputs are ended first']);
    await opened.submit([0]);
    expect(calls).toEqual(['scancel 12', 'sbatch']);
    expect((await readSlurmState(workspace))?.arrays.map(({ jobId }) => jobId)).toEqual(['13']);
  });

  test('a state that is damaged is not taken for none', async () => {
    const path = join(folder, 'slurm.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.slice(0, text.length / 2));
    await expect(readSlurmState(folder)).rejects.toMatchObject({ code: 'artefact-corrupt' });
  });
});

describe('what Slurm says of tasks', () => {
  test('sacct, squeue and scontrol are read', () => {
    const accounting =
      '12_0|COMPLETED|0:0|node1\n12_1|CANCELLED by 1000|0:15|None assigned\n12_[2-9]|PENDING|0:0|\n';
    expect([...parseAccounting(accounting)]).toEqual([
      { task: '12_0', name: '', state: 'COMPLETED', node: 'node1', reason: '' },
      { task: '12_1', name: '', state: 'CANCELLED', node: '', reason: 'signal 15' },
    ]);
    expect([...parseQueue('12_3|RUNNING|node2|None\n12_4|PENDING||Resources\n')]).toEqual([
      { task: '12_3', name: '', state: 'RUNNING', node: 'node2', reason: '' },
      { task: '12_4', name: '', state: 'PENDING', node: '', reason: 'Resources' },
    ]);
    const shown =
      'JobId=15 ArrayJobId=12 ArrayTaskId=5 JobName=x JobState=FAILED Reason=NonZeroExitCode ExitCode=1:0 NodeList=node3\n' +
      'JobId=12 ArrayJobId=12 ArrayTaskId=6-9 JobState=PENDING ExitCode=0:0 NodeList=\n';
    expect([...parseControllerJobs(shown)]).toEqual([
      { task: '12_5', name: 'x', state: 'FAILED', node: 'node3', reason: 'exit code 1' },
    ]);
  });

  const ask = (answers: Readonly<Record<string, CommandEnd>>): RunCommand => {
    return async (name) => answers[name] ?? { code: 1, stdout: '', stderr: '' };
  };

  test('the queue goes before the accounting for what is under way, and the last array before others', async () => {
    const run = ask({
      sacct: said('12_0|FAILED|1:0|node1\n12_1|NODE_FAIL|0:0|node1\n13_0|RUNNING|0:0|node2\n'),
      squeue: said('12_1|PENDING||BeginTime\n13_0|COMPLETED|node2|None\n'),
    });
    const state = { work: 'w', arrays: [array([4, 5], '12'), array([4], '13')] };
    const tasks = await queryTasks(run, state);
    expect(tasks.get(4)).toEqual({ task: '13_0', state: 'COMPLETED', node: 'node2', reason: '' });
    expect(tasks.get(5)).toMatchObject({ state: 'PENDING' });
    expect([...tasks.values()].map(isLive)).toEqual([false, true]);
  });

  test('a cluster without accounting is asked by its controller', async () => {
    const run = ask({
      sacct: { code: 1, stdout: '', stderr: 'Slurm accounting storage is disabled' },
      scontrol: said('JobId=15 ArrayJobId=12 ArrayTaskId=0 JobState=TIMEOUT ExitCode=0:0 NodeList=n1\n'),
      squeue: { code: 1, stdout: '', stderr: 'slurm_load_jobs error: Invalid job id specified' },
    });
    const tasks = await queryTasks(run, { work: 'w', arrays: [array([7], '12')] });
    expect(tasks.get(7)).toEqual({ task: '12_0', state: 'TIMEOUT', node: 'n1', reason: '' });
  });

  test('a controller that is away is no answer', async () => {
    const run = ask({ squeue: { code: 1, stdout: '', stderr: 'Unable to contact slurm controller' } });
    await expect(queryTasks(run, { work: 'w', arrays: [array([7], '12')] })).rejects.toMatchObject({
      code: 'slurm-failed',
    });
  });
});
