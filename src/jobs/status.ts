import { KdSpecError } from '../core/errors.js';
import { failuresFolder } from './failure-file.js';
import { runSlurmCommand } from './slurm/commands.js';
import { type JobStanding, standingOf } from './slurm/job-standing.js';
import { findLostArrays, queryTasks, type TaskStates } from './slurm/queue.js';
import { readSlurmState } from './slurm/state.js';
import { readWork } from './work-file.js';

/** Where the jobs of a workspace stand. */
export interface JobsStatus {
  /** Slurm's numbers of the arrays that were submitted. */
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
    slurmJobs: state?.arrays.flatMap(({ jobId }) => jobId ?? []) ?? [],
    unknown,
    jobs,
  };
}
