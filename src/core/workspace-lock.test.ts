import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WorkspaceLock } from './workspace-lock.js';

let workspace: string;
beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'kd-spec-lock-'));
});
afterEach(async () => rm(workspace, { recursive: true, force: true }));

const leaveLock = (holder: object) =>
  writeFile(join(workspace, '.lock'), JSON.stringify({ since: 'then', token: 'theirs', ...holder }));

test('a second holder is told who the first is, and gets the lock afterwards', async () => {
  const first = await WorkspaceLock.acquire(workspace);
  await expect(WorkspaceLock.acquire(workspace)).rejects.toMatchObject({
    code: 'workspace-busy',
    message: expect.stringContaining(`process ${process.pid} `),
  });
  await first[Symbol.asyncDispose]();
  await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
  expect(await readdir(workspace)).toEqual([]);
});

test('of many that come at once, one gets it', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  await leaveLock({ pid, host: hostname(), started: null });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, () => WorkspaceLock.acquire(workspace)),
  );
  const holders = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  expect(holders).toHaveLength(1);
  for (const holder of holders) await holder.value[Symbol.asyncDispose]();
});

test.runIf(process.platform === 'linux')(
  'a process that only has the pid of a dead holder is not it',
  async () => {
    await leaveLock({ pid: process.pid, host: hostname(), started: '1' });
    await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
  },
);

test('a lock that was torn by a crash is taken', async () => {
  await writeFile(join(workspace, '.lock'), '{"pid": 1');
  await (await WorkspaceLock.acquire(workspace))[Symbol.asyncDispose]();
});

test('a holder on another machine counts as alive', async () => {
  await leaveLock({ pid: 1, host: 'elsewhere', started: '1' });
  await expect(WorkspaceLock.acquire(workspace)).rejects.toMatchObject({ code: 'workspace-busy' });
});
