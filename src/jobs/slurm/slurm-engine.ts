import { setTimeout as wait } from 'node:timers/promises';
import { KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import type { Engine, Jobs } from '../engine.js';
import { failuresFolder, forgetFailure, workDigest, writeWork } from '../jobs-folder.js';
import type { SpecialistWork } from '../specialist-work.js';
import { patientLooks, standingOf } from '../status.js';
import {
  clusterWords,
  commandError,
  linesOf,
  type RunCommand,
  readCluster,
  runSlurmCommand,
} from './commands.js';
import { findLostArrays, isLive, queryTasks } from './queue.js';
import { askedClusters, checkSlurmOptions, type SlurmOptions } from './slurm-options.js';
import { arrayLabels, readSlurmState, type SlurmState, writeSlurmState } from './state.js';
import { submitArrays } from './submission.js';

const cancelPatienceMs = 120_000;

/**
 * Trains the specialists as job arrays of a Slurm cluster whose nodes share the workspace.
 *
 * Slurm is spoken to by its own commands, and nothing is kept but in the workspace: another coordinator, on another
 * machine, goes on where this one ended. Slurm itself requeues the jobs of a node that fails.
 *
 * @param folder the workspace's jobsFolder
 * @param command trains the specialist at the position that follows as its last word
 */
export function createSlurm(
  folder: string,
  command: readonly string[],
  options: SlurmOptions,
  {
    run = runSlurmCommand,
    pollMs = 5000,
    env = process.env,
  }: {
    readonly run?: RunCommand;
    readonly pollMs?: number;
    readonly env?: Readonly<Record<string, string | undefined>>;
  } = {},
): Engine {
  checkSlurmOptions(options);
  return {
    name: 'Slurm',
    outlivesCoordinator: true,
    async open(work, { log, listener }): Promise<Jobs> {
      const cluster = await readCluster(run, { asked: askedClusters(options, env), log });
      let state = await takeOver(run, folder, work, log);
      const folders = { folder, failures: failuresFolder(folder, work) };
      const watched = new Set<number>();
      const places = new Map<number, string>(); // where a job was last seen
      const looks = new Map<number, number>();
      const closing = new AbortController();
      let watching: Promise<void> | undefined;
      let submitting: Promise<void> = Promise.resolve();

      /** Tells the listener what changed since the last look. */
      async function look(): Promise<void> {
        const tasks = await queryTasks(run, state);
        for (const position of [...watched]) {
          const standing = await standingOf(work, folders, position, tasks);
          if (standing.kind === 'queued') continue;
          if (standing.kind === 'running') {
            if (places.get(position) !== standing.node) {
              listener({ kind: 'started', position, where: standing.node });
            }
            places.set(position, standing.node);
            continue;
          }
          places.delete(position);
          const count = (looks.get(position) ?? 0) + 1;
          looks.set(position, count);
          const mayChange = standing.kind === 'missing' || standing.kind === 'lost';
          if (mayChange && count < patientLooks) continue;
          watched.delete(position);
          looks.delete(position);
          const end =
            standing.kind === 'missing'
              ? ({
                  kind: 'lost',
                  reason: 'Slurm no longer knows its job, and it left no specialist',
                } as const)
              : standing;
          listener({ kind: 'ended', position, end });
        }
      }

      async function watch(): Promise<void> {
        let silences = 0;
        while (watched.size > 0 && !closing.signal.aborted) {
          try {
            await look();
            silences = 0;
          } catch (error) {
            // A controller that is restarted is away for a while; the jobs do not mind.
            if (!(error instanceof KdSpecError) || error.code !== 'slurm-failed' || ++silences > 60)
              throw error;
            if (silences === 1) log.warn(`${error.message}; asking again`);
          }
          await wait(pollMs, undefined, { signal: closing.signal }).catch(() => {});
        }
      }

      const startWatching = () => {
        watching ??= watch()
          .catch((error: Error) => listener({ kind: 'broken', error }))
          .finally(() => {
            watching = undefined;
            if (watched.size > 0 && !closing.signal.aborted) startWatching();
          });
      };

      async function submit(positions: readonly number[]): Promise<void> {
        await writeWork(folder, work);
        const tasks = await queryTasks(run, state);
        const isUnderWay = (position: number) => {
          const task = tasks.get(position);
          return task !== undefined && isLive(task);
        };
        const fresh = positions.filter((position) => !isUnderWay(position));
        for (const position of fresh) await forgetFailure(folders.failures, position);
        if (fresh.length > 0) {
          const before = state.arrays.length;
          state = await submitArrays(run, folder, state, fresh, { command, cluster, options, log });
          const jobs = arrayLabels({ ...state, arrays: state.arrays.slice(before) });
          log.info(
            `specialists: ${fresh.length} submitted to Slurm ${cluster.version} as ${jobs.join(', ')}`,
          );
        }
        if (fresh.length < positions.length) {
          log.info(`specialists: ${positions.length - fresh.length} under way at Slurm from before`);
        }
        for (const position of positions) watched.add(position);
        startWatching();
      }

      return {
        submit(positions) {
          // One after the other, since each goes on from the state that the one before it wrote.
          const submission = submitting.then(() => submit(positions));
          submitting = submission.catch(() => {});
          return submission;
        },
        async cancel() {
          await cancelArrays(run, state);
          const deadlineMs = performance.now() + cancelPatienceMs;
          while (watched.size > 0 && performance.now() < deadlineMs) await wait(Math.min(pollMs, 500));
        },
        async [Symbol.asyncDispose]() {
          closing.abort();
          await watching;
        },
      };
    },
  };
}

/** The state to go on with. Jobs that were submitted for other work than this are ended first. */
async function takeOver(
  run: RunCommand,
  folder: string,
  work: SpecialistWork,
  log: Log,
): Promise<SlurmState> {
  const digest = workDigest(work);
  const earlier = await readSlurmState(folder);
  if (earlier === undefined) return { work: digest, arrays: [] };
  const found = await findLostArrays(run, earlier);
  if (earlier.work === digest) return found;
  const isUnderWay = async () => [...(await queryTasks(run, found)).values()].some(isLive);
  if (await isUnderWay()) {
    log.warn('specialists: the Slurm jobs of other settings or inputs are ended first');
    await cancelArrays(run, found);
    const deadlineMs = performance.now() + cancelPatienceMs;
    while (await isUnderWay()) {
      if (performance.now() > deadlineMs) {
        throw new KdSpecError(
          'slurm-failed',
          `expected the jobs of earlier settings to end within ${cancelPatienceMs / 1000} seconds of scancel: ` +
            'look at them with squeue, and run the command again when they are gone',
        );
      }
      await wait(1000);
    }
  }
  const state = { work: digest, arrays: [] };
  await writeSlurmState(folder, state);
  return state;
}

/** Ends all jobs of some arrays; those that train write a checkpoint on the SIGTERM that they get. */
export async function cancelArrays(run: RunCommand, { arrays }: SlurmState): Promise<void> {
  const known = arrays.filter(({ jobId }) => jobId !== null);
  for (const cluster of new Set(known.map((array) => array.cluster))) {
    const ids = known.flatMap((array) => (array.cluster === cluster && array.jobId ? [array.jobId] : []));
    const end = await run('scancel', [...clusterWords(cluster), ...ids]);
    const complaints = linesOf(end.stderr).filter((line) => /error/i.test(line));
    const isOver = (line: string) => /invalid job id|already complet|job\/step already/i.test(line);
    // One that ended by itself needs no end, and the others were told.
    if (end.code !== 0 && !(complaints.length > 0 && complaints.every(isOver))) {
      throw commandError('scancel', end);
    }
  }
}
