import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../../src/core/log.js';
import type { Engine } from '../../../src/jobs/engine.js';
import type { RunCommand } from '../../../src/jobs/slurm/commands.js';
import { createSlurm } from '../../../src/jobs/slurm/slurm-engine.js';
import { collect, type SpecialistWork } from '../../../src/jobs/specialist-work.js';
import { trainMissing } from '../../../src/jobs/train-missing.js';

/** Seconds of the coordinator, measured on its own code with jobs that take no time. */
export interface CoordinatorTime {
  /** For each specialist: looking for what is there, handing out, hearing the end. */
  readonly perJob: number;
  /** For each finished specialist that is read and checked again. */
  readonly perArtefact: number;
  /** For each specialist: to submit it to Slurm, without Slurm's own time. */
  readonly slurmSubmit: number;
  /** For each specialist: one look at what Slurm says of it and at its folder. */
  readonly slurmLook: number;
}

const plain = { partition: null, account: null, time: null, memory: null, atMost: null, setup: null };
const slurmOptions = { ...plain, cpus: 1, gpus: 0, options: null };

/**
 * Measures the coordinator.
 *
 * @param finished some work whose specialists are all done
 * @param jobs how many specialists it is to look after
 */
export async function coordinatorTime(finished: SpecialistWork, jobs: number): Promise<CoordinatorTime> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-coordinator-'));
  try {
    const work: SpecialistWork = {
      ...finished,
      directory: join(folder, 'specialists'),
      subsets: Array.from({ length: jobs }, (_, id) => ({
        ...finished.subsets[id % finished.subsets.length],
        id,
      })),
    };
    const signal = new AbortController().signal;
    const perJob = await seconds(() => trainMissing(immediate, work, { log: silentLog, signal }));
    const perArtefact = await seconds(() => collect(finished));
    const slurm = await slurmTime(work, join(folder, 'jobs'));
    return {
      perJob: perJob / jobs,
      perArtefact: perArtefact / finished.subsets.length,
      slurmSubmit: slurm.submit / jobs,
      slurmLook: slurm.look / jobs,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An engine whose jobs are over as soon as they are submitted, and leave nothing. */
const immediate: Engine = {
  name: 'nobody',
  outlivesCoordinator: false,
  open: async (work, { listener }) => ({
    submit: async (positions) => {
      for (const position of positions) {
        listener({ kind: 'started', position, where: 'nowhere' });
        const outcome = { id: work.subsets[position].id, seconds: 0, wasDone: false };
        listener({ kind: 'ended', position, end: { kind: 'done', outcome } });
      }
    },
    cancel: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }),
};

/** The Slurm engine with commands that answer at once: every task is running. */
async function slurmTime(work: SpecialistWork, folder: string): Promise<{ submit: number; look: number }> {
  let arrays = 0;
  let looks = 0;
  let heard: () => void = () => {};
  const secondLook = new Promise<void>((resolve) => {
    heard = resolve;
  });
  const sizes: number[] = [];
  const run: RunCommand = async (name, words) => {
    const said = (stdout: string) => ({ code: 0, stdout, stderr: '' });
    if (words[0] === '--version') return said('slurm 23.11.4');
    if (name === 'scontrol') return said('MaxArraySize = 1001');
    if (name === 'sbatch') {
      const last = words.find((word) => word.startsWith('--array='))?.match(/-(\d+)/)?.[1];
      sizes.push(Number(last) + 1);
      return said(String(++arrays));
    }
    if (name !== 'squeue') return said('');
    if (sizes.length > 0 && ++looks > 2) heard();
    const lines = sizes.flatMap((size, array) =>
      Array.from({ length: size }, (_, task) => `${array + 1}_${task}|RUNNING|node1|None`),
    );
    return said(`${lines.join('\n')}\n`);
  };
  const pollMs = 1;
  const engine = createSlurm(folder, ['train'], slurmOptions, { run, pollMs });
  await using jobs = await engine.open(work, { log: silentLog, listener: () => {} });
  const submit = await seconds(() => jobs.submit(work.subsets.map((_, position) => position)));
  // From the first look to the third, which begins when the second is over.
  const look = (await seconds(() => secondLook)) / 2;
  return { submit, look };
}

async function seconds(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return (performance.now() - startMs) / 1000;
}
