import { setTimeout as wait } from 'node:timers/promises';
import { KdSpecError } from '../../core/errors.js';
import { duration } from '../../core/quantity-text.js';
import { jobsFolder, readWork } from '../../jobs/jobs-folder.js';
import { runSlurmCommand } from '../../jobs/slurm/commands.js';
import { findLostArrays } from '../../jobs/slurm/queue.js';
import { createResubmitLost } from '../../jobs/slurm/resubmit-lost.js';
import { cancelArrays } from '../../jobs/slurm/slurm-engine.js';
import { arrayLabels, readSlurmState } from '../../jobs/slurm/state.js';
import { type JobStanding, type JobsStatus, readJobsStatus } from '../../jobs/status.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';
import { alignColumns } from '../summary.js';
import { createTerminalLog, usesColor } from '../terminal-log.js';

/** Prints where the jobs of a workspace stand. */
export async function showJobs({ workspace, json }: Settings, context: CommandContext): Promise<void> {
  const status = await readJobsStatus(jobsFolder(workspace));
  printResult(context, { json: statusJson(status), text: statusText(status) }, json);
}

/**
 * Prints what `train-specialists` without `--wait` did: it submitted jobs, as it was told, and that is its success.
 *
 * @param message what was submitted and what to do next
 */
export async function reportSubmission(
  message: string,
  { workspace, json }: Settings,
  context: CommandContext,
): Promise<void> {
  const status = await readJobsStatus(jobsFolder(workspace));
  printResult(context, { json: statusJson(status), text: message }, json);
}

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
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped following; the jobs continue');
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

/** Ends the Slurm jobs of a workspace; those that train write a checkpoint first. */
export async function cancelJobs({ workspace, json }: Settings, context: CommandContext): Promise<void> {
  const folder = jobsFolder(workspace);
  await readWork(folder);
  const state = await readSlurmState(folder);
  const found = state && (await findLostArrays(runSlurmCommand, state));
  if (found) await cancelArrays(runSlurmCommand, found);
  const cancelled = found === undefined ? [] : arrayLabels(found);
  const text =
    cancelled.length === 0
      ? 'no Slurm jobs of this workspace are known; jobs of Kubernetes are ended with kubectl delete job'
      : `Slurm was told to end ${cancelled.join(', ')}; what was finished is kept`;
  printResult(context, { json: { cancelled }, text }, json);
}

/**
 * Checks that every specialist of a workspace is there, before the artefact is made of them without submitting any.
 *
 * @throws KdSpecError `jobs-under-way` while jobs run; `job-failed` when some ended without a specialist
 */
export async function requireAllDone({ workspace }: Settings): Promise<void> {
  const status = await readJobsStatus(jobsFolder(workspace));
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
}

/** What `kd-spec jobs show --json` prints. */
function statusJson({ slurmJobs, unknown, jobs }: JobsStatus): object {
  return {
    slurmJobs,
    slurmSilence: unknown ?? null,
    counts: countStandings(jobs),
    jobs: jobs.map(({ id, standing }) => ({ id, state: standing.kind, note: noteOf(standing) })),
  };
}

/** The same for a person. */
function statusText({ slurmJobs, unknown, jobs }: JobsStatus): string {
  return [
    alignColumns([
      ['specialist', 'state', ''],
      ...jobs.map(({ id, standing }) => [String(id), standing.kind, noteOf(standing)]),
    ]),
    '',
    [
      describeCounts(jobs),
      ...(slurmJobs.length > 0 ? [`Slurm jobs ${slurmJobs.join(', ')}`] : []),
      ...(unknown === undefined
        ? []
        : [`Slurm could not be queried, so this is the state of the folder alone: ${unknown}`]),
    ].join('. '),
  ].join('\n');
}

type Jobs = JobsStatus['jobs'];

/** How many jobs stand where, e.g. `{ done: 3, running: 2 }`. */
function countStandings(jobs: Jobs): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { standing } of jobs) counts[standing.kind] = (counts[standing.kind] ?? 0) + 1;
  return counts;
}

function describeCounts(jobs: Jobs): string {
  return Object.entries(countStandings(jobs))
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ');
}

function noteOf(standing: JobStanding): string {
  switch (standing.kind) {
    case 'done':
      return `in ${duration(standing.outcome.seconds)}`;
    case 'running':
      return `on ${standing.node}`;
    case 'queued':
      return standing.reason;
    case 'failed':
    case 'lost':
      return standing.log === undefined ? standing.reason : `${standing.reason} (its log: ${standing.log})`;
    case 'stopped':
      return 'after its checkpoint';
    case 'missing':
      return 'no job that anybody knows of';
  }
}
