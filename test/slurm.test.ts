import { execFileSync } from 'node:child_process';
import { readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { packageFolder } from '../src/core/package.js';
import {
  type Finished,
  jsonOf,
  kdSpecProcess as kdSpec,
  type Running,
  startKdSpec,
} from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/**
 * The Slurm engine on a real Slurm, the one that scripts/slurm-test.sh starts: what becomes of jobs, nodes and
 * coordinators that end at the wrong moment, and that the specialists are those of the pool in any case.
 */
const slurm = process.env.TEST_SLURM ?? '';
const env = { SLURM_CONF: join(slurm, 'slurm.conf') };
const script = join(packageFolder(), 'scripts', 'slurm.sh');

const ids = ['0', '1', '2', '3', '4', '5', '6'];
const training = `--clusters ${ids.length} --min-size 3 --specialist-epochs 400 --checkpoint-seconds 1 --backend wasm --quiet`;
const words = ['train-specialists', ...training.split(' ')];
const longerThanALife = '16000'; // epochs
const onSlurm = [...words, '--engine', 'slurm'];
const after = ['subsets', 'specialists', 'ensemble', 'report'];

describe.skipIf(slurm === '')('on Slurm', { timeout: 180_000 }, () => {
  const folders: string[] = [];
  let fromPool: Awaited<ReturnType<typeof ensembleOf>>;
  beforeAll(async () => {
    const folder = await workFolder();
    expect((await kdSpec([...words, '--parallel', '2'], { folder })).code).toBe(0);
    fromPool = await ensembleOf(folder);
  }, 180_000);
  afterAll(async () => {
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  async function workFolder(): Promise<string> {
    const folder = await copyOfTiny({ without: after });
    folders.push(folder);
    return folder;
  }

  /** The bytes of all specialists, and of the ensemble that is calibrated from them. */
  async function ensembleOf(folder: string) {
    const workspace = join(folder, 'kd-workspace');
    expect((await kdSpec(['calibrate', '--quiet'], { folder, env })).code).toBe(0);
    const models = ids.map((id) =>
      readFile(join(workspace, 'specialists', id, 'model.safetensors'), 'base64'),
    );
    return [
      ...(await Promise.all(models)),
      await readFile(join(workspace, 'ensemble', 'ensemble.json'), 'utf8'),
    ];
  }

  /** What Slurm's own commands say. */
  const ask = (name: string, ...rest: string[]) =>
    execFileSync(name, rest, { env: { ...process.env, ...env }, encoding: 'utf8' });
  const partial = (folder: string, ...parts: string[]) =>
    join(folder, 'kd-workspace', '.partial', 'specialists', ...parts);
  const arraysOf = async (folder: string): Promise<readonly { jobId: string; positions: number[] }[]> =>
    JSON.parse(await readFile(join(folder, 'kd-workspace', '.jobs', 'slurm.json'), 'utf8')).arrays;
  const jobsOf = async (folder: string) => (await arraysOf(folder)).map(({ jobId }) => jobId).join(',');

  interface Task {
    readonly task: string;
    readonly node: string;
    readonly id: string;
  }

  /** A task of this workspace that has trained for some epochs, and its node. */
  async function trainingTask(folder: string): Promise<Task> {
    for (let look = 0; look < 600; look++) {
      const arrays = await arraysOf(folder).catch(() => []);
      const jobs = arrays.flatMap(({ jobId }) => jobId ?? []).join(',');
      const lines = jobs === '' ? '' : ask('squeue', '-h', '-r', '-t', 'R', '-j', jobs, '-o', '%F_%K|%N');
      for (const [task, node] of lines.split('\n').map((line) => line.split('|'))) {
        const [job, index] = task.split('_');
        const id = String(arrays.find(({ jobId }) => jobId === job)?.positions[Number(index)]);
        const metrics = partial(folder, '.partial', id, 'metrics.jsonl');
        const epochs = (await readFile(metrics, 'utf8').catch(() => '')).split('\n').length - 1;
        if (epochs >= 2) return { task, node, id };
      }
      await wait(50);
    }
    throw new Error(`nothing trains: ${ask('squeue')}`);
  }

  /** Starts a command that waits for Slurm, and does something to a task that trains. */
  async function meddle(folder: string, then: (task: Task, running: Running) => Promise<void> | void) {
    const running = startKdSpec([...onSlurm, '--wait'], { folder, env });
    const task = await Promise.race([
      trainingTask(folder),
      running.finished.then(({ stderr }) => Promise.reject(new Error(`it ended early: ${stderr}`))),
    ]);
    await then(task, running);
    return { task, ended: await running.finished };
  }

  /** The process that trains a specialist; one whose metrics are of an earlier life may not hold the lock yet. */
  async function pidOf(folder: string, id: string): Promise<number> {
    const lock = partial(folder, '.partial', `${id}.lock`, '.lock');
    let text = '';
    const read = async () => (text = await readFile(lock, 'utf8').catch(() => ''));
    await expect.poll(read, { timeout: 20_000, interval: 20 }).not.toBe('');
    return JSON.parse(text).pid;
  }
  const expectSchema = async (name: string, output: unknown) => {
    const path = join(packageFolder(), 'docs', 'schemas', `${name}.json`);
    expect(z.fromJSONSchema(JSON.parse(await readFile(path, 'utf8'))).parse(output)).toEqual(output);
  };
  const expectSuccess = ({ code, stderr }: Finished) => expect({ code, stderr }).toMatchObject({ code: 0 });

  test('a node that is taken away costs nothing but time', async () => {
    const folder = await workFolder();
    const { task, ended } = await meddle(folder, ({ node }) => {
      execFileSync(script, ['kill', slurm, node]);
    });
    execFileSync(script, ['revive', slurm, task.node]);
    expectSuccess(ended);
    // Slurm keeps each life of a task: one ended with its node.
    expect(ask('sacct', '-D', '-X', '-n', '-P', '-j', task.task, '-o', 'State').split('\n')).toContain(
      'NODE_FAIL',
    );
    expect(await ensembleOf(folder)).toEqual(fromPool);
  });

  test('a coordinator that was killed finds its jobs again, and submits none twice', async () => {
    const folder = await workFolder();
    let jobs = '';
    await meddle(folder, async (_task, { child }) => {
      jobs = await jobsOf(folder);
      child.kill('SIGKILL');
    });
    const second = startKdSpec([...onSlurm.filter((word) => word !== '--quiet'), '--wait'], { folder, env });
    const ended = await second.finished;
    expectSuccess(ended);
    expect(ended.stderr).toContain('under way at Slurm from before');
    const tasks = ask('sacct', '-X', '-n', '-P', '-S', 'now-1hours', '-j', jobs, '-o', 'JobID')
      .trim()
      .split('\n');
    expect(tasks).toHaveLength(ids.length);
    expect(await ensembleOf(folder)).toEqual(fromPool);
  });

  test('a job that crashes is submitted again, and it alone', async () => {
    const folder = await workFolder();
    const { task, ended } = await meddle(folder, async ({ id }) => {
      process.kill(await pidOf(folder, id), 'SIGKILL');
    });
    expectSuccess(ended);
    expect(ended.stderr.match(/^warning: .*$/gm)).toEqual([
      expect.stringMatching(
        new RegExp(
          `^warning: specialist ${task.id}: its Slurm job failed on node\\d \\(.*\\); trying again$`,
        ),
      ),
    ]);
    expect(await ensembleOf(folder)).toEqual(fromPool);
  });

  test('a time limit that nears makes a checkpoint and another life', async () => {
    const folder = await workFolder();
    let log = '';
    const { ended } = await meddle(folder, async ({ task }) => {
      ask('scancel', '--batch', '--signal=USR1', task); // what --signal=B:USR1@120 has Slurm do
      const path = join(folder, 'kd-workspace', '.jobs', 'logs', `${task}.log`);
      await expect
        .poll(async () => (log = await readFile(path, 'utf8').catch(() => '')), { timeout: 20_000 })
        .toContain('queued again');
    });
    expectSuccess(ended);
    expect(log).toMatch(/stopped at step \d+, checkpoint kept/);
    expect(ended.stderr).toBe('');
    expect(await ensembleOf(folder)).toEqual(fromPool);
  });

  test('Slurm itself warns before a time limit, and the next life goes on', {
    timeout: 900_000,
  }, async () => {
    const folder = await workFolder();
    // Longer than a life of a minute and a half, until Slurm warns; it may do so up to a minute early.
    const long = onSlurm.map((word) => ({ [String(ids.length)]: '2', '400': longerThanALife })[word] ?? word);
    const running = startKdSpec([...long, '--slurm-time', '2', '--wait'], { folder, env });
    await trainingTask(folder);
    const jobs = await jobsOf(folder);
    expectSuccess(await running.finished);
    const lives = ask('sacct', '-D', '-X', '-n', '-P', '-j', jobs, '-o', 'State').trim().split('\n');
    expect(lives).toContain('REQUEUED');
    expect(lives).not.toContain('TIMEOUT');
  });

  test('jobs are submitted, shown, cancelled, followed and collected by separate commands', async () => {
    const folder = await workFolder();
    const submitted = jsonOf(await kdSpec([...onSlurm, '--json'], { folder, env }));
    await expectSchema('train-specialists', submitted);
    // MaxArraySize is 6 here: seven specialists take two arrays.
    expect(submitted.slurmJobs).toHaveLength(2);
    const again = await kdSpec(onSlurm, { folder, env });
    expectSuccess(again);
    expect(again.stdout).toContain('kd-spec jobs follow waits for them');
    await trainingTask(folder);
    const shown = jsonOf(await kdSpec(['jobs', 'show', '--json'], { folder, env }));
    await expectSchema('jobs', shown);
    expect(shown.slurmJobs).toEqual(submitted.slurmJobs);
    expect(shown.jobs).toHaveLength(ids.length);
    expect(shown.counts.running).toBeGreaterThanOrEqual(1);
    expect(await kdSpec(['jobs', 'collect'], { folder, env })).toMatchObject({ code: 75, stdout: '' });

    const cancelled = jsonOf(await kdSpec(['jobs', 'cancel', '--json'], { folder, env }));
    expect(cancelled.cancelled).toEqual(submitted.slurmJobs);
    const followed = await kdSpec(['jobs', 'follow', '--quiet'], { folder, env });
    expect(followed.code).toBe(1);
    expect(followed.stdout).toContain('stopped');
    expect(followed.stderr).toMatch(
      /\d of 7 specialists are not done: kd-spec train-specialists submits these again/,
    );

    // A machine without Slurm's commands still sees what stands in the shared folder.
    const elsewhere = await kdSpec(['jobs', 'show'], { folder, env: { ...env, PATH: '/nowhere' } });
    expect(elsewhere.stdout).toContain('Slurm could not be asked');

    expectSuccess(await kdSpec(onSlurm, { folder, env }));
    // One that crashes is submitted again by the command that follows.
    const following = startKdSpec(['jobs', 'follow', '--quiet'], { folder, env });
    const { id } = await trainingTask(folder);
    process.kill(await pidOf(folder, id), 'SIGKILL');
    const followedToEnd = await following.finished;
    expectSuccess(followedToEnd);
    expect(followedToEnd.stderr).toMatch(new RegExp(`specialist ${id}: its Slurm job failed.*trying again`));
    // A specialist that was torn in the meantime is not taken for a whole one.
    const model = partial(folder, '3', 'model.safetensors');
    await truncate(model, (await stat(model)).size - 10);
    expect((await kdSpec(['jobs', 'collect', '--quiet'], { folder, env })).code).toBe(1);
    expectSuccess(await kdSpec([...onSlurm, '--wait'], { folder, env }));
    expect(await ensembleOf(folder)).toEqual(fromPool);
    expect(await readdir(join(folder, 'kd-workspace'))).not.toContain('.jobs');
  });

  test('a job that takes more memory than it asked for is killed, and the end says so', async () => {
    const folder = await workFolder();
    const two = onSlurm.map((word) => (word === String(ids.length) ? '2' : word));
    const ended = await kdSpec([...two, '--wait', '--slurm-memory', '60M'], { folder, env });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/specialist 0: lost 3 times, the last time because its Slurm job .*memory/);
  });

  test('what Slurm refuses is said in its words', async () => {
    const folder = await workFolder();
    const ended = await kdSpec([...onSlurm, '--slurm-partition', 'nowhere'], { folder, env });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/sbatch ended with 1 and printed: .*invalid partition/);
    expect(ended.stderr).toContain('code: slurm-failed');
  });
});
