import { KdSpecError } from '../../core/errors.js';
import { duration } from '../../core/quantity-text.js';
import { jobsFolder } from '../../jobs/jobs-folder.js';
import { runSlurmCommand, slurmOutput } from '../../jobs/slurm/commands.js';
import { trainOne } from '../../jobs/specialist-trainer.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';

/**
 * Trains one specialist of a workspace: the unit of work that every cluster runs.
 *
 * SIGUSR1, which Slurm sends before a job's time is over, makes it write its checkpoint and ask Slurm for another
 * life of this job.
 */
export async function trainJob(
  { workspace, json }: Settings,
  text: string | undefined,
  context: CommandContext,
): Promise<void> {
  const given = text ?? context.env.JOB_COMPLETION_INDEX ?? '';
  const position = Number(given);
  if (given.trim() === '' || !Number.isSafeInteger(position) || position < 0) {
    throw new KdSpecError('option-invalid', `--position: expected an integer of 0 or more, got "${given}"`);
  }
  const timeIsShort = new AbortController();
  const onSignal = () => timeIsShort.abort();
  process.on('SIGUSR1', onSignal);
  try {
    const signal = AbortSignal.any([context.signal, timeIsShort.signal]);
    const outcome = await trainOne(jobsFolder(workspace), position, signal);
    const how = outcome.wasDone ? 'had been done before' : `trained in ${duration(outcome.seconds)}`;
    printResult(context, { json: outcome, text: `specialist ${outcome.id}: ${how}` }, json);
  } catch (error) {
    const job = context.env.SLURM_JOB_ID;
    if (timeIsShort.signal.aborted && !context.signal.aborted && job !== undefined) {
      context.stderr.write('the time limit is near: the checkpoint is kept, and the job is queued again\n');
      await slurmOutput(runSlurmCommand, 'scontrol', ['requeue', job]);
    }
    throw error;
  } finally {
    process.removeListener('SIGUSR1', onSignal);
  }
}
