import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  expectNoWarnings,
  type Finished,
  kdSpec,
  type RunOptions,
  startKdSpec,
} from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

// What signals and kills leave behind, and that the next run ends where one that nobody interrupted ends.

const linesOf = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).split('\n').length - 1;

/** Copies of the tiny workspace that are removed with the describe block that asks for them. */
function workFolders(without: readonly string[]): () => Promise<string> {
  const folders: string[] = [];
  afterAll(async () => {
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });
  return async () => {
    const folder = await copyOfTiny({ without });
    folders.push(folder);
    return folder;
  };
}

/** Starts a command and, as soon as `isTime`, does `then` to it. */
async function meddle(
  words: readonly string[],
  options: RunOptions,
  isTime: () => Promise<boolean>,
  then: (pid: number) => void | Promise<void>,
): Promise<Finished> {
  const { child, finished } = startKdSpec(words, options);
  let hasEnded = false;
  finished.then(() => {
    hasEnded = true;
  });
  while (!hasEnded && !(await isTime())) await wait(10);
  const pid = child.pid;
  if (hasEnded || pid === undefined) {
    throw new Error(`the command ended before its time: ${(await finished).stderr}`);
  }
  await then(pid);
  return finished;
}

/** A signal to a training of the generalist, the exit code, and flags that the training needs for it. */
export type GeneralistCase = readonly [NodeJS.Signals, number | null, readonly string[]];

/** Defines a test for each signal that ends a training of the generalist. */
export function interruptedGeneralist(cases: readonly GeneralistCase[]): void {
  const epochs = 12;
  describe('training the generalist', () => {
    const words = ['train-generalist', '--epochs', String(epochs), '--patience', 'none'];
    const workFolder = workFolders([
      'generalist',
      'predictions',
      'subsets',
      'specialists',
      'ensemble',
      'report',
    ]);
    const model = (folder: string) =>
      readFile(join(folder, 'kd-workspace', 'generalist', 'model.safetensors'));
    const hasBegun = (folder: string) => async () =>
      (await linesOf(join(folder, 'kd-workspace', '.partial', 'generalist', 'metrics.jsonl'))) >= 3;

    let uninterrupted: Buffer;
    beforeAll(async () => {
      const folder = await workFolder();
      expect((await kdSpec([...words, '--quiet'], { folder })).code).toBe(0);
      uninterrupted = await model(folder);
      expect(await linesOf(join(folder, 'kd-workspace', 'generalist', 'metrics.jsonl'))).toBe(epochs);
    });

    test.each(cases)(
      '%s ends it with %s, and the next run comes to the same weights',
      async (signal, code, flags) => {
        const folder = await workFolder();
        const command = [...words, '--quiet', ...flags];
        const checkpoints = join(folder, 'kd-workspace', '.partial', 'generalist', 'checkpoints');
        const isTime = async () =>
          (await hasBegun(folder)()) &&
          (signal !== 'SIGKILL' || (await readdir(checkpoints).catch(() => [])).length > 0);
        const ended = await meddle(command, { folder }, isTime, (pid) => {
          process.kill(pid, signal);
        });
        expectNoWarnings(ended);
        expect(ended).toMatchObject({ code, stdout: '' });
        expect(existsSync(join(folder, 'kd-workspace', 'generalist'))).toBe(false);
        if (code !== null)
          expect(ended.stderr).toMatch(/stopped at step \d+, checkpoint kept\ncode: interrupted\n$/);

        const resumed = await kdSpec([...words, '--resume'], { folder });
        expect(resumed.stderr).toContain('generalist: going on with what was interrupted');
        expect(resumed.code).toBe(0);
        expect((await model(folder)).equals(uninterrupted)).toBe(true);
        const files = await readdir(join(folder, 'kd-workspace', 'generalist'));
        expect(files).not.toContain('checkpoints');
        expect(await linesOf(join(folder, 'kd-workspace', 'generalist', 'metrics.jsonl'))).toBe(epochs);
      },
    );
  });
}

/** What happens to a pool that trains specialists. */
export type PoolCase = 'SIGINT' | 'SIGTERM' | 'a coordinator that was killed' | 'a worker that was killed';

/** Defines a test for each thing that happens to a pool of two processes. */
export function interruptedPool(cases: readonly PoolCase[]): void {
  describe('training specialists in two processes', () => {
    const ids = ['0', '1', '2', '3'];
    const training = '--clusters 4 --specialist-epochs 30 --checkpoint-seconds 1'.split(' ');
    const words = ['train-specialists', ...training, '--quiet'];
    const workFolder = workFolders(['subsets', 'specialists', 'ensemble', 'report']);
    const partial = (folder: string, ...parts: string[]) =>
      join(folder, 'kd-workspace', '.partial', 'specialists', ...parts);
    const finishedIn = async (folder: string) => {
      const done = ids.filter((id) => existsSync(partial(folder, id, 'manifest.json')));
      return new Map(
        await Promise.all(
          done.map(
            async (id) => [id, (await stat(partial(folder, id, 'model.safetensors'))).mtimeMs] as const,
          ),
        ),
      );
    };
    /** One is finished, and others are under way. */
    const halfWay = (folder: string) => async () =>
      (await finishedIn(folder)).size >= 1 &&
      (await Promise.all(ids.map((id) => linesOf(partial(folder, '.partial', id, 'metrics.jsonl'))))).some(
        (lines) => lines >= 2,
      );
    const models = async (folder: string) =>
      Promise.all(
        ids.map((id) =>
          readFile(join(folder, 'kd-workspace', 'specialists', id, 'model.safetensors'), 'base64'),
        ),
      );
    const workersOf = (pid: number) =>
      childrenOf(pid).filter((child) => commandOf(child).some((word) => word.endsWith('worker.js')));

    let uninterrupted: string[];
    beforeAll(async () => {
      const folder = await workFolder();
      // In this process: whatever engine trains, and however often it was interrupted, the weights are these.
      expect((await kdSpec(words, { folder })).code).toBe(0);
      uninterrupted = await models(folder);
    });

    async function expectTheRestIsTrained(folder: string, before: ReadonlyMap<string, number>) {
      const resumed = await kdSpec([...words, '--parallel', '2', '--resume'], { folder });
      expect(resumed).toMatchObject({ code: 0, stderr: '' });
      expect(await models(folder)).toEqual(uninterrupted);
      for (const [id, mtimeMs] of before) {
        const file = join(folder, 'kd-workspace', 'specialists', id, 'model.safetensors');
        expect((await stat(file)).mtimeMs, `specialist ${id} is the one that was finished before`).toBe(
          mtimeMs,
        );
      }
      expect((await readdir(join(folder, 'kd-workspace', 'specialists'))).sort()).toEqual([
        ...ids,
        'manifest.json',
      ]);
    }

    const signals = (['SIGINT', 'SIGTERM'] as const).filter((signal) => cases.includes(signal));
    test.for(signals)(
      '%s ends it with 75 after checkpoints, and what was finished is not trained again',
      async (signal) => {
        const folder = await workFolder();
        const ended = await meddle([...words, '--parallel', '2'], { folder }, halfWay(folder), (pid) => {
          // As a terminal does: Ctrl-C reaches the workers, too.
          for (const worker of signal === 'SIGINT' ? workersOf(pid) : []) process.kill(worker, signal);
          process.kill(pid, signal);
        });
        expectNoWarnings(ended);
        expect(ended).toMatchObject({ code: 75, stdout: '' });
        expect(ended.stderr).toMatch(/stopped with \d of 4 specialists done\ncode: specialists-stopped\n$/);
        const before = await finishedIn(folder);
        expect(before.size).toBeGreaterThanOrEqual(1);
        expect(before.size).toBeLessThan(ids.length);
        await expectTheRestIsTrained(folder, before);
      },
    );

    if (cases.includes('a coordinator that was killed'))
      test.runIf(process.platform === 'linux')(
        'a coordinator that was killed leaves workers that end by themselves, and the next run does not wait for long',
        async () => {
          const folder = await workFolder();
          let workers: number[] = [];
          const ended = await meddle([...words, '--parallel', '2'], { folder }, halfWay(folder), (pid) => {
            workers = workersOf(pid);
            process.kill(pid, 'SIGKILL');
          });
          expect(ended.killedBy).toBe('SIGKILL');
          expectNoWarnings(ended); // `finished` waits for the workers, which share its stderr
          expect(workers).toHaveLength(2);
          for (const worker of workers)
            await expect.poll(() => isAlive(worker), { timeout: 10_000 }).toBe(false);
          await expectTheRestIsTrained(folder, await finishedIn(folder));
        },
      );

    if (cases.includes('a worker that was killed'))
      test.runIf(process.platform === 'linux')('a worker that was killed is replaced', async () => {
        const folder = await workFolder();
        const command = [...words, '--parallel', '2'];
        let before = new Map<string, number>();
        const ended = await meddle(command, { folder }, halfWay(folder), async (pid) => {
          before = await finishedIn(folder);
          const [worker] = workersOf(pid);
          process.kill(worker, 'SIGKILL');
        });
        expectNoWarnings({ ...ended, stderr: ended.stderr.replace(/^warning: .*$/m, '') });
        expect(ended.code).toBe(0);
        expect(ended.stderr).toMatch(
          /^warning: specialist \d: its process ended with SIGKILL; trying again\n$/,
        );
        expect(await models(folder)).toEqual(uninterrupted);
        expect(before.size).toBeGreaterThanOrEqual(1);
      });
  });
}

function childrenOf(pid: number): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(Number);
  } catch {
    return [];
  }
}

function commandOf(pid: number): string[] {
  return execFileSync('cat', [`/proc/${pid}/cmdline`], { encoding: 'utf8' }).split('\0');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
