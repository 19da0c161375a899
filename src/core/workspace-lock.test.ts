import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ownIdentity } from './process-identity.js';
import { WorkspaceLock } from './workspace-lock.js';

let workspace: string;
beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'kd-spec-lock-'));
});
afterEach(async () => rm(workspace, { recursive: true, force: true }));

const path = () => join(workspace, '.lock');
const leaveLock = (holder: object) =>
  writeFile(path(), JSON.stringify({ ...ownIdentity(), since: 'then', token: 'theirs', ...holder }));
const beatMs = 100;

test('a second holder is told who the first is, and gets the lock afterwards', async () => {
  const first = await WorkspaceLock.acquire(workspace);
  await expect(WorkspaceLock.acquire(workspace)).rejects.toMatchObject({
    code: 'workspace-busy',
    message: expect.stringMatching(
      new RegExp(`process ${process.pid} on \\S+ has worked in it since \\d{4}-\\d\\d-\\d\\dT`),
    ),
  });
  await first[Symbol.asyncDispose]();
  await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
  expect(await readdir(workspace)).toEqual([]);
});

test('of many that come at once, one gets it', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  await leaveLock({ pid, started: null });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, () => WorkspaceLock.acquire(workspace)),
  );
  const holders = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  expect(holders).toHaveLength(1);
  for (const holder of holders) await holder.value[Symbol.asyncDispose]();
});

test('a process that was killed while it took the lock of a dead one keeps nobody from it', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  await leaveLock({ pid, started: null });
  const after = createHash('sha256').update('theirs').digest('hex').slice(0, 16);
  await copyFile(path(), `${path()}.${after}.takeover`);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, () => WorkspaceLock.acquire(workspace)),
  );
  const holders = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  expect(holders).toHaveLength(1);
  for (const holder of holders) await holder.value[Symbol.asyncDispose]();
  expect(await readdir(workspace)).toEqual([]);
});

test.runIf(process.platform === 'linux')(
  'a process that only has the pid of a dead holder is not it',
  async () => {
    await leaveLock({ started: '1' });
    await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
    expect(await readdir(workspace)).toEqual([]);
  },
);

test.runIf(process.platform === 'linux')(
  'a holder that was killed and that its parent has not taken notice of is not waited for',
  async () => {
    // The shell becomes a program that waits for no child, which prints the child's pid first.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = await once(parent.stdout, 'data');
      const pid = Number(String(line));
      const state = () => /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
      await expect.poll(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8').trim()).toBe('sleep');
      process.kill(pid, 'SIGKILL');
      await expect.poll(state).toBe('Z');
      await leaveLock({ pid, started: null });
      await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
      expect(await readdir(workspace)).toEqual([]);
    } finally {
      parent.kill();
    }
  },
);

test('what a process left that was killed while it took the lock is removed', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const names = [
    '.lock.0b4d2c1e-0000-4000-8000-000000000000',
    '.lock.0b4d2c1e-0000-4000-8000-000000000001.stale',
  ];
  const holder = JSON.stringify({ ...ownIdentity(), pid, since: 'then', token: 'theirs' });
  for (const name of names) await writeFile(join(workspace, name), holder);
  await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
  expect(await readdir(workspace)).toEqual([]);
});

test('a lock that was torn by a crash is taken', async () => {
  await writeFile(path(), '{"pid": 1');
  const lock = await WorkspaceLock.acquire(workspace);
  expect(JSON.parse(await readFile(path(), 'utf8'))).toMatchObject({ pid: process.pid });
  await lock[Symbol.asyncDispose]();
  expect(await readdir(workspace)).toEqual([]);
});

describe('a holder on another machine', () => {
  const elsewhere = { pid: 1, host: 'elsewhere', machine: 'another boot' };
  const acquire = () => WorkspaceLock.acquire(workspace, { beatMs });
  const stamp = (secondsFromNow: number) => {
    const time = new Date(Date.now() + 1000 * secondsFromNow);
    return utimes(path(), time, time);
  };

  test('that gave a sign of life just now is alive, and the message says when it was', async () => {
    await leaveLock(elsewhere);
    await expect(acquire()).rejects.toMatchObject({
      code: 'workspace-busy',
      message: expect.stringMatching(/process 1 on elsewhere .*last sign of life came 0\.\d s ago/),
    });
  });

  test.each([
    ['long ago', -60],
    ['in the future: its clock was ahead, or ours was set back', 3600],
  ])('whose last sign came %s, and none comes, is dead', async (_, seconds) => {
    await leaveLock(elsewhere);
    await stamp(seconds);
    await (await acquire())[Symbol.asyncDispose]();
  });

  test('that gives signs is alive whatever the clocks say', async () => {
    await leaveLock(elsewhere);
    await stamp(-3600);
    let minute = -60;
    const beats = setInterval(() => stamp(60 * minute++), beatMs);
    try {
      await expect(acquire()).rejects.toMatchObject({ code: 'workspace-busy' });
    } finally {
      clearInterval(beats);
    }
  });
});

describe('signs of life', () => {
  test('come while the main thread is busy, and leave the content as it is', async () => {
    await using _lock = await WorkspaceLock.acquire(workspace, { beatMs });
    const content = await readFile(path(), 'utf8');
    await wait(3 * beatMs);
    const before = (await stat(path())).mtimeMs;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4 * beatMs);
    expect((await stat(path())).mtimeMs).toBeGreaterThan(before);
    expect(await readFile(path(), 'utf8')).toBe(content);
  });

  test('do not keep a process alive', () => {
    const program = `
      import { WorkspaceLock } from '${import.meta.resolve('./workspace-lock.ts')}';
      await WorkspaceLock.acquire(${JSON.stringify(workspace)}, { beatMs: 50 });
      setTimeout(() => console.log('beating'), 300);
    `;
    const words = ['--import', 'tsx', '--input-type=module', '-e', program];
    const ended = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 20_000 });
    expect(ended).toMatchObject({ status: 0, stdout: 'beating\n' });
  });

  test('end when another took the lock, which the holder is told', async () => {
    const lock = await WorkspaceLock.acquire(workspace, { beatMs });
    await wait(2 * beatMs);
    expect(lock.lost.aborted).toBe(false);
    await rm(path());
    await leaveLock({ token: 'theirs' });
    await expect.poll(() => lock.lost.aborted).toBe(true);
    await lock[Symbol.asyncDispose]();
    expect(await readFile(path(), 'utf8')).toContain('theirs');
  });
});
