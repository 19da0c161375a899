import { KdSpecError } from '../../core/errors.js';
import { readJobsStatus } from '../../jobs/status.js';
import { jobsFolder } from '../../jobs/work-file.js';
import type { Settings } from '../../pipeline/options.js';
import type { Flags } from '../command-line.js';
import type { CommandContext } from '../context.js';
import { runStageCommand } from '../run-stages.js';
import { countStandings, describeCounts, statusText } from './describe-status.js';

/**
 * Makes the artefact of the specialists from what the jobs made, and submits nothing.
 *
 * @throws KdSpecError `jobs-under-way` while jobs run; `job-failed` when some ended without a specialist
 */
export async function collectJobs(settings: Settings, flags: Flags, context: CommandContext): Promise<void> {
  const status = await readJobsStatus(jobsFolder(settings.workspace));
  const { done = 0, running = 0, queued = 0 } = countStandings(status.jobs);
  if (done < status.jobs.length) {
    if (running + queued > 0) {
      throw new KdSpecError(
        'jobs-under-way',
        `expected all ${status.jobs.length} specialists, found ${describeCounts(status.jobs)}: ` +
          'kd-spec jobs follow waits for the others',
      );
    }
    throw new KdSpecError(
      'job-failed',
      `expected all ${status.jobs.length} specialists, found ${done}: kd-spec train-specialists submits the ` +
        `others again\n${statusText(status)}`,
    );
  }
  await runStageCommand('specialists', flags, context, { toJson: (metrics) => metrics });
}
