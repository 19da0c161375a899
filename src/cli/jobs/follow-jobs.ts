import { setTimeout as wait } from 'node:timers/promises';
import { KdSpecError } from '../../core/errors.js';
import { createResubmitLost } from '../../jobs/slurm/resubmit-lost.js';
import { readJobsStatus } from '../../jobs/status.js';
import { jobsFolder } from '../../jobs/work-file.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';
import { createTerminalLog, usesColor } from '../terminal-log.js';
import { countStandings, describeCounts, statusJson, statusText } from './describe-status.js';

const pollMs = 5000;

/**
 * Shows live how the jobs of a workspace go on, until none is under way. Jobs that Slurm lost are submitted again, each
 * at most twice, unless another command holds the workspace. Nobody here can ask for the jobs of Kubernetes: those are
 * under way until their specialist is there, or until they say that it cannot be trained.
 *
 * @throws KdSpecError `job-failed` when some ended without a specialist; `interrupted`, the jobs going on
 */
export async function followJobs(settings: Settings, context: CommandContext): Promise<void> {
  const { workspace, quiet, json } = settings;
  const isElsewhere = settings.specialists.engine === 'kubernetes';
  const resubmitLost = createResubmitLost(workspace, settings.specialists.slurm);
  const { stderr, env, signal } = context;
  using log = createTerminalLog(stderr, { quiet, color: usesColor(stderr, env) });
  let status = await readJobsStatus(jobsFolder(workspace));
  const progress = log.progress('specialists', status.jobs.length);
  while (true) {
    const { done = 0, running = 0, queued = 0, missing = 0, lost = 0 } = countStandings(status.jobs);
    const underWay = running + queued + (isElsewhere ? missing + lost : 0);
    progress.update(done, describeCounts(status.jobs));
    const isSilent = status.unknown !== undefined && done < status.jobs.length;
    const isTriedAgain = await resubmitLost(status, log);
    if (underWay === 0 && !isSilent && !isTriedAgain) break;
    await wait(pollMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped following; the jobs go on');
    status = await readJobsStatus(jobsFolder(workspace));
  }
  progress.finish(describeCounts(status.jobs));
  printResult(context, { json: statusJson(status), text: statusText(status) }, json);
  const left = status.jobs.filter(({ standing }) => standing.kind !== 'done').length;
  if (left > 0) {
    throw new KdSpecError(
      'job-failed',
      `${left} of ${status.jobs.length} specialists are not done: kd-spec train-specialists submits these again, ` +
        'with the settings that this workspace remembers',
    );
  }
}
