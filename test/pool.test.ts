import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Log, silentLog } from '../src/core/log.js';
import type { SpecialistWork } from '../src/jobs/specialist-work.js';
import { jsonOf } from './fixtures/command-line.js';
import { trainWith, untrained } from './fixtures/sabotage.js';
import { tinyCopies } from './fixtures/tiny-workspace.js';
import { builtJobs, plenty, tinySpecialists, trainMissing } from './support/tiny-specialists.js';

/** What the pool does beside the contract of engines (jobs.test.ts): it watches over its processes. More: test/slow/pool.test.ts. */
let root: string;
let workOf: (directory: string) => SpecialistWork;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-pool-'));
  workOf = await tinySpecialists(root);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const spoilt = 1; // the position whose specialist has accidents

describe('a pool', () => {
  const pool = async () => {
    const { createPool }: typeof import('../src/jobs/pool/pool.js') = await import(builtJobs('pool/pool.js'));
    return createPool(plenty, { hangSeconds: 900 });
  };

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
    await trainMissing(await pool(), workOf(join(root, 'pool-bars')), { log });
    const steps = (id: number) => bars.filter((text) => text.startsWith(`specialist ${id} (passing): `));
    for (const id of [0, 1, 2]) {
      expect(steps(id)[0]).toMatch(/: 0 of [1-9]\d*$/);
      expect(steps(id).at(-1)).toMatch(/: finished of/);
    }
    expect(bars.at(-1)).toBe('specialists: finished of 3');
  });
});

describe('train-specialists', () => {
  // An accident that can happen to child processes alone shows whether the command has any.
  const workFolder = tinyCopies();
  const crash = 'process.exit(9);';

  test('without a word about processes the command trains by itself', async () => {
    expect(jsonOf(await trainWith(await workFolder(untrained), crash))).toMatchObject({
      engine: 'local',
      workers: 1,
      specialists: 3,
    });
  });

  test('a specialist that would fail again ends it with 1, and a list that says so', async () => {
    const diverge = `process.send({ kind: 'failed', position: ${spoilt}, code: 'training-diverged', message: 'the loss is NaN' }); return true;`;
    const ended = await trainWith(await workFolder(untrained), diverge, '--parallel', '2');
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toBe(
      'error: 1 of 3 specialists failed; the others are kept and --resume tries these again:\n' +
        `  specialist ${spoilt}: the loss is NaN\n` +
        '  with the same settings these will fail again: change what the reason names\n' +
        'code: job-failed\n',
    );
  });
});
