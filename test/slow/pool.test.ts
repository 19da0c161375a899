import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Log, silentLog } from '../../src/core/log.js';
import type { SpecialistWork } from '../../src/jobs/specialist-work.js';
import { jsonOf } from '../fixtures/command-line.js';
import { sabotage, stoppedTwice, trainWith, untrained } from '../fixtures/sabotage.js';
import { tinyCopies } from '../fixtures/tiny-workspace.js';
import {
  builtJobs,
  bytesOf,
  plenty,
  tinySpecialists,
  trainingProcess,
  trainMissing,
  warningsLog,
  workOfEpochs,
} from '../support/tiny-specialists.js';

/**
 * What the pool does beside the contract of engines (jobs.test.ts): it tells how far its processes are, and watches over
 * their accidents: crashes, hanging, suspension, and memory beyond a share.
 */
let root: string;
let workOf: (directory: string) => SpecialistWork;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-pool-'));
  workOf = await tinySpecialists(root);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const spoilt = 1; // the position whose specialist has accidents

describe('a pool', () => {
  const pool = async (share: Partial<typeof plenty>, hangSeconds = 900) => {
    const { createPool }: typeof import('../../src/jobs/pool/pool.js') = await import(
      builtJobs('pool/pool.js')
    );
    return createPool({ ...plenty, ...share }, { hangSeconds });
  };
  /** Has the workers that start from now on run some text when they are told to train the spoilt position. */
  const spoil = async (name: string, text: string) => {
    vi.stubEnv('NODE_OPTIONS', await sabotage(join(root, `${name}.mjs`), spoilt, text));
  };
  afterEach(() => {
    vi.unstubAllEnvs();
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

  test('ends a worker that computes without progress past the limit, and another trains its specialist', async () => {
    const once = 'if (!existsSync(mark)) { writeFileSync(mark, ""); for (;;); }';
    await spoil('hang', once);
    const { log, warnings } = warningsLog();
    const work = workOf(join(root, 'pool-hung'));
    const { done, failed } = await trainMissing(await pool({}, 10), work, { log });
    expect(failed).toEqual([]);
    expect(done.map(({ id }) => id).sort()).toEqual([0, 1, 2]);
    expect(warnings).toEqual([
      `specialist ${spoilt}: its process made no progress for 10 s and was ended (--hang-seconds sets the limit); trying again`,
    ]);
  });

  test('ends a worker that was suspended, too', async () => {
    const { log, warnings } = warningsLog();
    const work = workOfEpochs(workOf(join(root, 'pool-suspended')), 100);
    const training = trainMissing(await pool({}, 10), work, { log });
    process.kill(await trainingProcess(work.directory), 'SIGSTOP');
    expect((await training).failed).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('made no progress for 10 s')]);
    const { inProcess }: typeof import('../../src/jobs/in-process.js') = await import(
      builtJobs('in-process.js')
    );
    const undisturbed = workOfEpochs(workOf(join(root, 'pool-undisturbed')), 100);
    await trainMissing(inProcess, undisturbed);
    expect(await bytesOf(work.directory, 0)).toEqual(await bytesOf(undisturbed.directory, 0));
  });

  test.runIf(process.platform === 'linux')(
    'ends a worker that takes more memory than its share',
    async () => {
      await spoil('hog', 'globalThis.hog = Buffer.alloc(600_000_000, 1); for (;;);');
      const work = workOf(join(root, 'pool-hog'));
      const { done, failed } = await trainMissing(await pool({ memoryMegabytes: 500 }), work);
      expect(done.map(({ id }) => id).sort()).toEqual([0, 2]);
      expect(failed).toEqual([
        {
          id: spoilt,
          reason: expect.stringMatching(
            /^lost 3 times, the last time because its process was ended for its memory: \d+ MB, of a share of 500 MB /,
          ),
        },
      ]);
    },
  );

  test('gives a worker a JavaScript heap of its share', async () => {
    await spoil('heap', 'const list = []; for (;;) list.push(new Array(1000).fill({}).map(() => ({})));');
    const work = workOf(join(root, 'pool-heap'));
    const { failed } = await trainMissing(await pool({ memoryMegabytes: 128 }), work);
    expect(failed).toEqual([
      { id: spoilt, reason: expect.stringMatching(/SIGABRT|SIGTRAP|exit code 13\d|for its memory/) },
    ]);
  });
});

describe('train-specialists', () => {
  const workFolder = tinyCopies();
  const hangOnce = 'if (!existsSync(mark)) { writeFileSync(mark, ""); for (;;); }';
  const hog = 'globalThis.hog = Buffer.alloc(900_000_000, 1); for (;;);';

  // An accident that can happen to child processes alone shows whether the command has any.
  test('without a word about processes the command trains by itself', async () => {
    expect(jsonOf(await trainWith(await workFolder(untrained), 'process.exit(9);'))).toMatchObject({
      engine: 'local',
      workers: 1,
      specialists: 3,
    });
  });

  test('--hang-seconds alone makes a process that can be ended', async () => {
    const trained = await trainWith(await workFolder(untrained), hangOnce, '--hang-seconds', '10');
    expect(trained.code).toBe(0);
    expect(trained.stderr).toBe(
      'warning: specialist 1: its process made no progress for 10 s and was ended (--hang-seconds sets the limit); trying again\n',
    );
  });

  test.runIf(process.platform === 'linux')('so does --worker-memory', async () => {
    const { code, stderr } = await trainWith(await workFolder(untrained), hog, '--worker-memory', '700');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /specialist 1: lost 3 times, .* ended for its memory: \d+ MB, of a share of 700 MB/,
    );
  });

  test('--parallel 1 is a child process, which may crash without the others, which are kept', async () => {
    const folder = await workFolder(untrained);
    const { code, stderr } = await trainWith(folder, 'process.exit(9);', '--parallel', '1');
    expect(code).toBe(1);
    expect(stderr.match(/specialist 1: its process ended with exit code 9; trying again/g)).toHaveLength(2);
    expect(stderr).toContain(
      'specialist 1: lost 3 times, the last time because its process ended with exit code 9',
    );
    expect(stderr).toContain(
      'error: 1 of 3 specialists failed; the others are kept and --resume tries these again:\n  specialist 1: ',
    );
    expect(stderr).toMatch(/\ncode: job-failed\n$/);
    const kept = await readdir(join(folder, 'kd-workspace', '.partial', 'specialists'));
    expect(kept.filter((entry) => /^\d$/.test(entry)).sort()).toEqual(['0', '2']);
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

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 75],
  ] as const)('%s twice ends it with %i, and its processes, whatever they do', async (signal, code) => {
    const ended = await stoppedTwice(await workFolder(untrained), signal);
    expect(ended).toMatchObject({ code });
  });
});
