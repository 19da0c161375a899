import { KdSpecError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { WorkspaceLock } from '../core/workspace-lock.js';
import { createSlurm } from './slurm/slurm-engine.js';
import type { SlurmOptions } from './slurm/slurm-options.js';
import type { JobsStatus } from './status.js';
import { trainingCommand } from './training-command.js';
import { jobsFolder, readWork } from './work-file.js';

const maxRetries = 2; // of one specialist, as whoever waits with --wait allows
const patientLooks = 3; // at a lost job whose artefact may not be visible here yet

/**
 * Submits the lost jobs of a workspace to Slurm again while somebody follows them: those that were cancelled, or that
 * would fail in the same way, are left alone, and so are all while another coordinator holds the workspace.
 */
export class LostJobs {
  private readonly workspace: string;
  private readonly options: SlurmOptions;
  private readonly looks = new Map<number, number>();
  private readonly retries = new Map<number, number>();

  constructor(workspace: string, options: SlurmOptions) {
    this.workspace = workspace;
    this.options = options;
  }

  /** Positions of jobs that are lost and may be tried again, now or after another look. */
  candidates({ jobs, slurmJobs, unknown }: JobsStatus): readonly number[] {
    if (slurmJobs.length === 0 || unknown !== undefined) return [];
    return [...jobs.keys()].filter(
      (position) => jobs[position].standing.kind === 'lost' && (this.retries.get(position) ?? 0) < maxRetries,
    );
  }

  /**
   * Submits again what looks lost for the third time in a row.
   *
   * @returns whether something may still come of lost jobs
   * @throws KdSpecError `slurm-failed`
   */
  async resubmit(status: JobsStatus, log: Log): Promise<boolean> {
    const candidates = this.candidates(status);
    for (const position of this.looks.keys()) {
      if (!candidates.includes(position)) this.looks.delete(position);
    }
    for (const position of candidates) this.looks.set(position, (this.looks.get(position) ?? 0) + 1);
    const lost = candidates.filter((position) => (this.looks.get(position) ?? 0) >= patientLooks);
    if (lost.length > 0 && !(await this.submit(lost, status, log))) return false;
    return candidates.length > 0;
  }

  /** False when another coordinator holds the workspace: it looks after the jobs. */
  private async submit(positions: readonly number[], { jobs }: JobsStatus, log: Log): Promise<boolean> {
    const lock = await WorkspaceLock.acquire(this.workspace).catch((error: unknown) => {
      if (error instanceof KdSpecError && error.code === 'workspace-busy') return undefined;
      throw error;
    });
    if (lock === undefined) return false;
    await using _held = lock;
    const folder = jobsFolder(this.workspace);
    const engine = createSlurm(folder, trainingCommand(this.workspace), this.options);
    await using opened = await engine.open(await readWork(folder), { log, listener: () => {} });
    for (const position of positions) {
      const { id, standing } = jobs[position];
      if (standing.kind === 'lost') log.warn(`specialist ${id}: ${standing.reason}; trying again`);
      this.retries.set(position, (this.retries.get(position) ?? 0) + 1);
      this.looks.delete(position);
    }
    await opened.submit(positions);
    return true;
  }
}
