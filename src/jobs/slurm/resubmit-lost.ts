import { KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { WorkspaceLock } from '../../core/workspace-lock.js';
import { maxRetries } from '../engine.js';
import { jobsFolder, readWork } from '../jobs-folder.js';
import { type JobsStatus, patientLooks } from '../status.js';
import { createSlurm } from './slurm-engine.js';
import type { SlurmOptions } from './slurm-options.js';
import { trainingCommand } from './submission.js';

/**
 * Submits again what looks lost for the third time in a row.
 *
 * @returns whether something may still come of lost jobs
 * @throws KdSpecError `slurm-failed`
 */
export type ResubmitLost = (status: JobsStatus, log: Log) => Promise<boolean>;

/**
 * Submits the lost jobs of a workspace to Slurm again while somebody follows them, looking with each status: those that
 * were cancelled, or that would fail in the same way, are left alone, and so are all while another coordinator holds
 * the workspace.
 */
export function createResubmitLost(workspace: string, options: SlurmOptions): ResubmitLost {
  const looks = new Map<number, number>();
  const retries = new Map<number, number>();

  /** Positions of jobs that are lost and may be tried again, now or after another look. */
  function candidatesOf({ jobs, slurmJobs, unknown }: JobsStatus): readonly number[] {
    if (slurmJobs.length === 0 || unknown !== undefined) return [];
    return [...jobs.keys()].filter(
      (position) => jobs[position].standing.kind === 'lost' && (retries.get(position) ?? 0) < maxRetries,
    );
  }

  /** False when another coordinator holds the workspace: it looks after the jobs. */
  async function submit(positions: readonly number[], { jobs }: JobsStatus, log: Log): Promise<boolean> {
    const lock = await WorkspaceLock.acquire(workspace).catch((error: unknown) => {
      if (error instanceof KdSpecError && error.code === 'workspace-busy') return undefined;
      throw error;
    });
    if (lock === undefined) return false;
    await using _held = lock;
    const folder = jobsFolder(workspace);
    const engine = createSlurm(folder, trainingCommand(workspace), options);
    await using opened = await engine.open(await readWork(folder), { log, listener: () => {} });
    for (const position of positions) {
      const { id, standing } = jobs[position];
      if (standing.kind === 'lost') log.warn(`specialist ${id}: ${standing.reason}; trying again`);
      retries.set(position, (retries.get(position) ?? 0) + 1);
      looks.delete(position);
    }
    await opened.submit(positions);
    return true;
  }

  return async (status, log) => {
    const candidates = candidatesOf(status);
    for (const position of looks.keys()) {
      if (!candidates.includes(position)) looks.delete(position);
    }
    for (const position of candidates) looks.set(position, (looks.get(position) ?? 0) + 1);
    const lost = candidates.filter((position) => (looks.get(position) ?? 0) >= patientLooks);
    if (lost.length > 0 && !(await submit(lost, status, log))) return false;
    return candidates.length > 0;
  };
}
