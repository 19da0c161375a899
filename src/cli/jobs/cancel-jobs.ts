import { runSlurmCommand } from '../../jobs/slurm/commands.js';
import { findLostArrays } from '../../jobs/slurm/queue.js';
import { cancelArrays } from '../../jobs/slurm/slurm-engine.js';
import { readSlurmState } from '../../jobs/slurm/state.js';
import { jobsFolder, readWork } from '../../jobs/work-file.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';

/** Ends the Slurm jobs of a workspace; those that train write a checkpoint first. */
export async function cancelJobs({ workspace, json }: Settings, context: CommandContext): Promise<void> {
  const folder = jobsFolder(workspace);
  await readWork(folder);
  const state = await readSlurmState(folder);
  const found = state && (await findLostArrays(runSlurmCommand, state));
  if (found) await cancelArrays(runSlurmCommand, found);
  const cancelled = found?.arrays.flatMap(({ jobId }) => jobId ?? []) ?? [];
  const text =
    cancelled.length === 0
      ? 'no Slurm jobs of this workspace are known; jobs of Kubernetes are ended with kubectl delete job'
      : `Slurm was told to end ${cancelled.join(', ')}; what was finished is kept`;
  printResult(context, { json: { cancelled }, text }, json);
}
