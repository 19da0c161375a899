import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Log, silentLog } from '../src/core/log.js';
import type { SpecialistWork } from '../src/jobs/specialist-work.js';
import { jsonOf, kdSpecProcess, startKdSpec } from './fixtures/command-line.js';
import { sabotage } from './fixtures/sabotage.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';
import { builtJobs, plenty, tinySpecialists, trainMissing, warningsLog } from './support/tiny-specialists.js';

/** What the pool does beside the contract of engines (jobs.test.ts): it watches over its processes. More: test/slow/pool.test.ts. */
let root: string;
let workOf: (directory: string) => SpecialistWork;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-pool-'));
  workOf = await tinySpecialists(root);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const spoilt = 1; // the position whose specialist has accidents

describe('a pool', { timeout: 120_000 }, () => {
  const pool = async (share: Partial<typeof plenty>) => {
    const { createPool }: typeof import('../src/jobs/pool/pool.js') = await import(builtJobs('pool/pool.js'));
    return createPool({ ...plenty, ...share }, { hangSeconds: 900 });
  };
  /** Has the workers that start from now on run some text when they are told to train the spoilt position. */
  const spoil = async (name: string, text: string) => {
    vi.stubEnv('NODE_OPTIONS', await sabotage(join(root, `${name}.mjs`), spoilt, text));
  };
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('tries a specialist that crashes its worker twice more, and trains the others', async () => {
    await spoil('crash', 'process.exit(9)');
    const { log, warnings } = warningsLog();
    const { done, failed } = await trainMissing(await pool({}), workOf(join(root, 'pool-crash')), { log });
    expect(done.map(({ id }) => id).sort()).toEqual([0, 2]);
    const reason = 'its process ended with exit code 9';
    expect(failed).toEqual([{ id: spoilt, reason: `lost 3 times, the last time because ${reason}` }]);
    expect(warnings).toEqual(Array(2).fill(`specialist ${spoilt}: ${reason}; trying again`));
  });

  test('tells how far each specialist is, and is silent about those that are over', async () => {
    const bars: string[] = [];
    const log: Log = {
      ...silentLog,
      progress: (label, total, { isPassing = false } = {}) => {
        const note = (text: string) =>
          bars.push(`${label}${isPassing ? ' (passing)' : ''}: ${text} of ${total}`);
        return { update: (done) => note(String(done)), finish: () => note('finished') };
      },
    };
    await trainMissing(await pool({}), workOf(join(root, 'pool-bars')), { log });
    const steps = (id: number) => bars.filter((text) => text.startsWith(`specialist ${id} (passing): `));
    for (const id of [0, 1, 2]) {
      expect(steps(id)[0]).toMatch(/: 0 of [1-9]\d*$/);
      expect(steps(id).at(-1)).toMatch(/: finished of/);
    }
    expect(bars.at(-1)).toBe('specialists: finished of 3');
  });
});

describe('train-specialists', { timeout: 120_000 }, () => {
  // An accident that can happen to child processes alone shows whether the command has any.
  const folders: string[] = [];
  afterAll(async () => {
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });
  const crash = 'process.exit(9);';

  async function trainWith(accident: string, ...flags: string[]) {
    const folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
    folders.push(folder);
    const env = { NODE_OPTIONS: await sabotage(join(folder, 'accident.mjs'), spoilt, accident) };
    return kdSpecProcess(['train-specialists', '--quiet', '--json', ...flags], { folder, env });
  }

  test('without a word about processes the command trains by itself', async () => {
    expect(jsonOf(await trainWith(crash))).toMatchObject({ engine: 'local', workers: 1, specialists: 3 });
  });

  test('--parallel 1 is a child process, which may crash without the others, which are kept', async () => {
    const { code, stderr } = await trainWith(crash, '--parallel', '1');
    expect(code).toBe(1);
    expect(stderr).toContain(
      'specialist 1: lost 3 times, the last time because its process ended with exit code 9',
    );
    expect(stderr).toContain(
      'error: 1 of 3 specialists failed; the others are kept and --resume tries these again:\n  specialist 1: ',
    );
    expect(stderr).toMatch(/\ncode: job-failed\n$/);
    const kept = await readdir(join(folders.at(-1) ?? '', 'kd-workspace', '.partial', 'specialists'));
    expect(kept.filter((entry) => /^\d$/.test(entry)).sort()).toEqual(['0', '2']);
  });

  test('a specialist that would fail again ends it with 1, and a list that says so', async () => {
    const diverge = `process.send({ kind: 'failed', position: ${spoilt}, code: 'training-diverged', message: 'the loss is NaN' }); return true;`;
    const ended = await trainWith(diverge, '--parallel', '2');
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toBe(
      'error: 1 of 3 specialists failed; the others are kept and --resume tries these again:\n' +
        `  specialist ${spoilt}: the loss is NaN\n` +
        '  with the same settings these will fail again: change what the reason names\n' +
        'code: job-failed\n',
    );
  });

  test.each([
    ['SIGTERM', 75],
    ['SIGINT', 130],
  ] as const)('%s twice ends it with %i, and its processes, whatever they do', async (signal, code) => {
    const folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
    folders.push(folder);
    const accident = join(folder, 'accident.mjs');
    const hang = 'writeFileSync(mark, ""); for (;;);';
    const env = { NODE_OPTIONS: await sabotage(accident, spoilt, hang) };
    const words = ['train-specialists', '--quiet', '--parallel', '1'];
    const { child, finished } = startKdSpec(words, { folder, env });
    await expect.poll(() => existsSync(`${accident}.mark`), { timeout: 60_000 }).toBe(true);
    child.kill(signal);
    await wait(500);
    const startMs = performance.now();
    child.kill(signal);
    // Its processes are gone, too: `finished` waits for them, since they share its stderr.
    expect(await finished).toMatchObject({ code });
    expect(performance.now() - startMs).toBeLessThan(1000);
  });
});
