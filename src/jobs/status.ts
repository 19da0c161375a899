import { readFile } from 'node:fs/promises';
import { KdSpecError } from '../core/errors.js';
import type { JobEnd } from './engine.js';
import { failuresFolder, readFailure, readWork } from './jobs-folder.js';
import { runSlurmCommand } from './slurm/commands.js';
import { findLostArrays, isLive, queryTasks, type TaskState, type TaskStates } from './slurm/queue.js';
import { arrayLabels, jobLogPath, readSlurmState } from './slurm/state.js';
import { findFinished, type SpecialistWork } from './specialist-work.js';

/** Where the jobs of a workspace stand. */
export interface JobsStatus {
  /** Slurm's numbers of the arrays that were submitted, as `12` or `12;cluster`. */
  readonly slurmJobs: readonly string[];
  /** Why Slurm could not be asked; then only what stands in the folder is known. */
  readonly unknown: string | undefined;
  /** One for each specialist, in the order of the subsets. */
  readonly jobs: readonly { readonly id: number; readonly standing: JobStanding }[];
}

/**
 * Looks where the jobs of a workspace stand, from any machine that shares it.
 *
 * @param folder the workspace's jobsFolder
 * @throws KdSpecError `not-found` when nothing was submitted from this workspace
 */
export async function readJobsStatus(folder: string): Promise<JobsStatus> {
  const work = await readWork(folder);
  let state = await readSlurmState(folder);
  let tasks: TaskStates | undefined;
  let unknown: string | undefined;
  try {
    if (state) {
      state = await findLostArrays(runSlurmCommand, state);
      tasks = await queryTasks(runSlurmCommand, state);
    }
  } catch (error) {
    if (!(error instanceof KdSpecError && error.code === 'slurm-failed')) throw error;
    unknown = error.message;
  }
  const folders = { folder, failures: failuresFolder(folder, work) };
  const jobs = [];
  for (const [position, { id }] of work.subsets.entries()) {
    jobs.push({ id, standing: await standingOf(work, folders, position, tasks) });
  }
  return {
    slurmJobs: state === undefined ? [] : arrayLabels(state),
    unknown,
    jobs,
  };
}

/** Where one job stands: under way, or ended in some way; `missing` is one that Slurm never had or no longer knows. */
export type JobStanding =
  | { readonly kind: 'queued'; readonly reason: string }
  | { readonly kind: 'running'; readonly node: string }
  | { readonly kind: 'missing' }
  | JobEnd;

/** How often a job that seems lost is looked at before it counts as lost: its artefact may not be visible here yet. */
export const patientLooks = 3;

/**
 * Where the job of a position stands, from the artefact first, since that alone counts, and then from Slurm.
 *
 * @param folders.folder the workspace's jobsFolder
 * @param folders.failures where jobs of this work leave why they failed
 * @param tasks what Slurm says; undefined when it cannot be asked
 */
export async function standingOf(
  work: SpecialistWork,
  { folder, failures }: { readonly folder: string; readonly failures: string },
  position: number,
  tasks: TaskStates | undefined,
): Promise<JobStanding> {
  const manifest = await findFinished(work, position);
  if (manifest) {
    const { id } = work.subsets[position];
    return { kind: 'done', outcome: { id, seconds: manifest.seconds, wasDone: false } };
  }
  const task = tasks?.get(position);
  if (task && isLive(task)) {
    const isRunning = task.state !== 'PENDING' && task.node !== '';
    return isRunning ? { kind: 'running', node: task.node } : { kind: 'queued', reason: task.reason };
  }
  const told = await readFailure(failures, position);
  if (task === undefined) return told ?? { kind: 'missing' };
  const path = jobLogPath(folder, task.task);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  const log = text === undefined ? {} : { log: path };
  if (task.state !== 'COMPLETED' && exceededMemory(text ?? '')) {
    return { kind: 'lost', reason: describeLoss({ ...task, state: 'OUT_OF_MEMORY' }), ...log };
  }
  if (task.state === 'CANCELLED') return { kind: 'stopped' };
  if (task.state === 'FAILED' && told) return { ...told, ...log };
  return { kind: 'lost', reason: describeLoss(task), ...log };
}

/**
 * Whether a task was killed for its memory: where no control groups watch over it, Slurm calls it FAILED or CANCELLED,
 * and says why in its log alone.
 */
function exceededMemory(log: string): boolean {
  return /exceeded (job |step )?memory limit/i.test(log.slice(-2000));
}

/** Why a task that left no artefact ended, in words. */
function describeLoss({ state, node, reason }: TaskState): string {
  const where = node === '' ? '' : ` on ${node}`;
  const why = reason === '' ? '' : ` (${reason})`;
  const words: Readonly<Record<string, string>> = {
    COMPLETED: `its Slurm job${where} ended well but left no specialist here: do its nodes share this folder?`,
    FAILED: `its Slurm job failed${where}${why}`,
    OUT_OF_MEMORY: `its Slurm job${where} was killed for its memory: request more with --slurm-memory`,
    TIMEOUT: `its Slurm job${where} reached its time limit: request more with --slurm-time`,
    NODE_FAIL: `its node failed${where}`,
  };
  return words[state] ?? `its Slurm job ended as ${state}${where}${why}`;
}
