import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/core/log.js';
import type { Engine, JobEnd, JobEvent } from '../../src/jobs/engine.js';
import { jobsFolder } from '../../src/jobs/jobs-folder.js';
import type { SlurmOptions } from '../../src/jobs/slurm/slurm-options.js';
import type { SpecialistWork } from '../../src/jobs/specialist-work.js';
import { type Running, startKdSpec } from '../fixtures/command-line.js';
import { plainSlurm } from './slurm.js';
import {
  builtJobs,
  bytesOf,
  plenty,
  tinySpecialists,
  trainingProcess,
  trainMissing,
  warningsLog,
  workOfEpochs,
} from './tiny-specialists.js';

let root: string;
let workOf: (directory: string) => SpecialistWork;

/** The folder of the Slurm that scripts/slurm-test.sh starts; where there is none, its engine is left out. */
const slurm = process.env.TEST_SLURM ?? '';

async function onSlurm(options: Partial<SlurmOptions> = {}): Promise<Engine> {
  process.env.SLURM_CONF = join(slurm, 'slurm.conf');
  const { createSlurm }: typeof import('../../src/jobs/slurm/slurm-engine.js') = await import(
    builtJobs('slurm/slurm-engine.js')
  );
  const { trainingCommand }: typeof import('../../src/jobs/slurm/submission.js') = await import(
    builtJobs('slurm/submission.js')
  );
  const workspace = join(root, 'workspace-of-slurm');
  const asked = { ...plainSlurm, ...options };
  return createSlurm(jobsFolder(workspace), trainingCommand(workspace), asked, { pollMs: 500 });
}

/** The engine that leaves its jobs to others, and these: a process each, as Kubernetes would start them. */
async function startedByHand(): Promise<Engine> {
  const { createManualEngine }: typeof import('../../src/jobs/kubernetes.js') = await import(
    builtJobs('kubernetes.js')
  );
  const workspace = join(root, 'workspace-by-hand');
  const engine = createManualEngine(jobsFolder(workspace), 'hands', { pollMs: 100 });
  const words = ['jobs', 'train', '--workspace', workspace, '--position'];
  return {
    ...engine,
    async open(work, options) {
      const jobs = await engine.open(work, options);
      const running = new Set<Running>();
      const start = (position: number, triesLeft: number) => {
        const job = startKdSpec([...words, String(position)], { folder: root });
        running.add(job);
        job.finished.then(({ code }) => {
          running.delete(job);
          if (code !== 0 && code !== 75 && triesLeft > 0) start(position, triesLeft - 1);
        });
      };
      return {
        submit: async (positions) => {
          await jobs.submit(positions);
          for (const position of positions) start(position, 2);
        },
        cancel: async () => {
          for (const { child } of running) child.kill('SIGTERM');
          await Promise.all([...running].map(({ finished }) => finished));
          await jobs.cancel();
        },
        [Symbol.asyncDispose]: () => jobs[Symbol.asyncDispose](),
      };
    },
  };
}

/** One contract, run over every engine: who trains a specialist makes no difference. */
const engines: Readonly<Record<string, () => Promise<Engine>>> = {
  'this process': async () => {
    const { inProcess }: typeof import('../../src/jobs/in-process.js') = await import(
      builtJobs('in-process.js')
    );
    return inProcess;
  },
  'a pool of two processes': async () => {
    const { createPool }: typeof import('../../src/jobs/pool/pool.js') = await import(
      builtJobs('pool/pool.js')
    );
    return createPool(plenty, { hangSeconds: 900 });
  },
  'jobs started by hand': startedByHand,
  ...(slurm === '' ? {} : { Slurm: onSlurm }),
};
const alone = 'this process'; // the engine whose jobs cannot end without their coordinator
const silent = 'jobs started by hand'; // the engine that does not hear how jobs ended

/** The names of the engines that are there. */
export const engineNames = Object.keys(engines);

/**
 * Defines the tests of the contract for engines; the first test of each makes what the later ones find.
 *
 * @param interrupted the engines whose jobs are also left, killed and cancelled under way, which takes longer
 */
export function engineContract(
  names: readonly string[],
  { interrupted = names }: { readonly interrupted?: readonly string[] } = {},
): void {
  const barren = 1; // the subset that is said to have no training examples

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'kd-spec-jobs-'));
    workOf = await tinySpecialists(root);
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  // A scheduler takes seconds to pass on that a job was cancelled.
  const longWork = (work: SpecialistWork) => workOfEpochs(work, names.includes('Slurm') ? 200 : 100);

  /** The specialist of {@link longWork} as a run that nobody disturbs makes it. */
  let undisturbed: Promise<readonly string[]> | undefined;
  const expectedBytes = () => {
    undisturbed ??= (async () => {
      const directory = join(root, 'undisturbed');
      await trainMissing(await engines[alone](), longWork(workOf(directory)));
      return bytesOf(directory, 0);
    })();
    return undisturbed;
  };

  describe.each(names)('an engine: %s', (name) => {
    const directory = () => join(root, name.replaceAll(' ', '-'));

    test('lets a subset without training examples fail alone', async () => {
      const engine = await engines[name]();
      const work = workOf(`${directory()}-barren`);
      const labelCounts = work.labelCounts.map((count, label) =>
        work.subsets[barren].classes.includes(label) ? 0 : count,
      );
      const { done, failed } = await trainMissing(engine, { ...work, labelCounts });
      expect(done.map(({ id, wasDone }) => ({ id, wasDone })).toSorted((a, b) => a.id - b.id)).toEqual([
        { id: 0, wasDone: false },
        { id: 2, wasDone: false },
      ]);
      expect(failed).toMatchObject([{ id: barren, reason: expect.stringContaining(`subset ${barren}`) }]);
      const entries = await readdir(work.directory);
      expect(entries.filter((entry) => !entry.startsWith('.')).sort()).toEqual(['0', '2']);
    });

    test('trains what is missing when it is asked again, and nothing else', async () => {
      const engine = await engines[name]();
      const work = workOf(directory());
      await trainMissing(engine, { ...work, subsets: work.subsets.filter(({ id }) => id !== barren) });
      const { done, failed } = await trainMissing(engine, work);
      expect(failed).toEqual([]);
      expect(done.toSorted((a, b) => a.id - b.id)).toEqual([
        { id: 0, seconds: 0, wasDone: true },
        { id: barren, seconds: expect.any(Number), wasDone: false },
        { id: 2, seconds: 0, wasDone: true },
      ]);
    });

    test('trains again what was made with other settings', async () => {
      const engine = await engines[name]();
      const work = workOf(directory());
      const before = await bytesOf(directory(), 0);
      const training = { ...work.training, learningRate: 0.002 };
      const { done } = await trainMissing(engine, { ...work, training, subsets: [work.subsets[0]] });
      expect(done.map(({ wasDone }) => wasDone)).toEqual([false]);
      expect(await bytesOf(directory(), 0)).not.toEqual(before);
      await trainMissing(engine, { ...work, subsets: [work.subsets[0]] });
      expect(await bytesOf(directory(), 0)).toEqual(before);
    });

    test('trains again what was torn, and nothing else', async () => {
      const whole = await bytesOf(directory(), 2);
      const model = join(directory(), '2', 'model.safetensors');
      await truncate(model, (await stat(model)).size - 10);
      const { done } = await trainMissing(await engines[name](), workOf(directory()));
      expect(done.filter(({ wasDone }) => !wasDone).map(({ id }) => id)).toEqual([2]);
      expect(await bytesOf(directory(), 2)).toEqual(whole);
    });

    test('stops when it is told to', async () => {
      const engine = await engines[name]();
      const work = workOf(join(root, 'never'));
      await expect(trainMissing(engine, work, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        code: 'specialists-stopped',
      });
    });
  });

  describe.each(interrupted)('an engine, interrupted: %s', (name) => {
    const directory = () => join(root, name.replaceAll(' ', '-'));

    test('goes on with what an earlier coordinator left under way', async () => {
      const work = longWork(workOf(`${directory()}-left`));
      {
        const engine = await engines[name]();
        await using jobs = await engine.open(work, { log: silentLog, listener: () => {} });
        await jobs.submit([0]);
        await trainingProcess(work.directory);
      }
      const { log, warnings } = warningsLog();
      const { failed } = await trainMissing(await engines[name](), work, { log });
      expect({ failed, warnings }).toEqual({ failed: [], warnings: [] });
      expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
    });

    test.skipIf(name === alone)('tries a job again that crashed', async () => {
      const work = longWork(workOf(`${directory()}-crashed`));
      const { log, warnings } = warningsLog();
      const training = trainMissing(await engines[name](), work, { log });
      process.kill(await trainingProcess(work.directory), 'SIGKILL');
      expect((await training).done).toMatchObject([{ id: 0, wasDone: false }]);
      const expected = name === silent ? [] : [expect.stringMatching(/^specialist 0: its .*; trying again$/)];
      expect(warnings).toEqual(expected);
      expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
    });

    test('cancels a job, which keeps its checkpoint, and goes on with it when it is submitted again', async () => {
      const work = longWork(workOf(`${directory()}-cancelled`));
      const ends: JobEnd[] = [];
      {
        const engine = await engines[name]();
        const listener = (event: JobEvent) => {
          if (event.kind === 'ended') ends.push(event.end);
        };
        await using jobs = await engine.open(work, { log: silentLog, listener });
        await jobs.submit([0]);
        await trainingProcess(work.directory);
        await jobs.cancel();
      }
      expect(ends).toEqual(name === silent ? [] : [{ kind: 'stopped' }]);
      const kept = await readdir(join(work.directory, '.partial', '0', 'checkpoints'));
      expect(kept.length).toBeGreaterThanOrEqual(1);
      expect((await trainMissing(await engines[name](), work)).done).toMatchObject([
        { id: 0, wasDone: false },
      ]);
      expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
    });
  });

  test('all engines leave the same bytes', async () => {
    const reference = join(root, 'reference');
    await trainMissing(await engines[alone](), workOf(reference));
    for (const name of names) {
      for (const id of [0, 1, 2]) {
        expect(await bytesOf(join(root, name.replaceAll(' ', '-')), id)).toEqual(
          await bytesOf(reference, id),
        );
      }
    }
  });

  if (names.includes('Slurm'))
    test('a Slurm job that hangs past its limit is ended by it, and tried again', {
      timeout: 300_000,
    }, async () => {
      const work = longWork(workOf(join(root, 'hung')));
      const mark = join(root, 'hung-once');
      const hang = `[ -e '${mark}' ] || { touch '${mark}'; trap '' TERM USR1; sleep 1000; }`;
      const { log, warnings } = warningsLog();
      const { done } = await trainMissing(await onSlurm({ time: '1', setup: hang }), work, { log });
      expect(done).toMatchObject([{ id: 0, wasDone: false }]);
      expect(warnings).toEqual([
        expect.stringMatching(/its Slurm job on node\d reached its time limit: .*; trying again$/),
      ]);
      expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
    });
}
