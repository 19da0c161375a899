import { duration } from '../../core/quantity-text.js';
import type { JobStanding } from '../../jobs/slurm/job-standing.js';
import type { JobsStatus } from '../../jobs/status.js';
import { alignColumns } from '../summary.js';

/** What `kd-spec jobs show --json` prints. */
export function statusJson({ slurmJobs, unknown, jobs }: JobsStatus): object {
  return {
    slurmJobs,
    slurmSilence: unknown ?? null,
    counts: countStandings(jobs),
    jobs: jobs.map(({ id, standing }) => ({ id, state: standing.kind, note: noteOf(standing) })),
  };
}

/** The same for a person. */
export function statusText({ slurmJobs, unknown, jobs }: JobsStatus): string {
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
        : [`Slurm could not be asked, so this is what stands in the folder: ${unknown}`]),
    ].join('. '),
  ].join('\n');
}

type Jobs = JobsStatus['jobs'];

/** How many jobs stand where, e.g. `{ done: 3, running: 2 }`. */
export function countStandings(jobs: Jobs): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { standing } of jobs) counts[standing.kind] = (counts[standing.kind] ?? 0) + 1;
  return counts;
}

export function describeCounts(jobs: Jobs): string {
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
    case 'failed':
    case 'lost':
      return standing.reason;
    case 'stopped':
      return 'after its checkpoint';
    case 'missing':
      return 'no job that anybody knows of';
  }
}
