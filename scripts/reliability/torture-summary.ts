import type { Machine } from '../machine.js';
import type { Place } from './killed-run.js';

/** Whom a round kills: the command, whose workers are then without a parent; one of its workers; or all at once. */
export const targets = ['command', 'worker', 'all'] as const;
export type Target = (typeof targets)[number];

/** One kill. */
export interface Round {
  readonly target: Target;
  /** Where the run was. */
  readonly place: Place;
  /** Milliseconds since that run of the command began. */
  readonly ms: number;
}

/** What all kills came to. */
export interface TortureSummary {
  readonly command: string;
  readonly machine: Machine;
  /** What a run goes through. */
  readonly places: readonly Place[];
  /** Rounds that were asked for; fewer were run when it was stopped. */
  readonly asked: number;
  readonly rounds: readonly Round[];
  /** Workspaces, each of them compared with the undisturbed one. */
  readonly workspaces: number;
  /** Artefacts found in workspaces right after a kill; every byte of them was read again. */
  readonly artefactsRead: number;
  /** Artefacts that were whole at some kill and had to be the same in the end. */
  readonly artefactsKept: number;
  readonly failures: readonly string[];
  readonly undisturbedSeconds: number;
  readonly seconds: number;
}

/** The summary as a page for docs/results. */
export function torturePage(summary: TortureSummary): string {
  const { asked, rounds, machine, failures } = summary;
  const count = (place: Place, target: Target) =>
    rounds.filter((round) => round.place === place && round.target === target).length;
  const rows = summary.places.map((place) => {
    const counts = targets.map((target) => count(place, target));
    return `| ${place} | ${counts.join(' | ')} | ${counts.reduce((sum, value) => sum + value, 0)} |`;
  });
  const totals = targets.map((target) => rounds.filter((round) => round.target === target).length);
  return `# Reliability: killed ${rounds.length} times

The pipeline of the quickstart, made small, was killed with \`kill -9\` at ${rounds.length} random moments, and the same
command was given again each time. \`scripts/reliability/torture.ts\` says how moments are drawn and what is compared.

    ${summary.command}
${rounds.length < asked ? `\nIt was stopped after ${rounds.length} of ${asked} rounds.\n` : ''}
| | |
| --- | --- |
| kills | ${rounds.length} |
| workspaces brought to their end and compared, file by file, with one never disturbed | ${summary.workspaces} |
| artefacts read again in full right after a kill | ${summary.artefactsRead} |
| artefacts that were whole at a kill, and are the same ones in the end | ${summary.artefactsKept} |
| failures | ${failures.length} |

Where the kills fell. *command*: the coordinator alone, whose workers then have no parent, and the next run begins while
they are still there; *worker*: one worker of the pool; *all*: every process at once. *start* is before the first stage,
which in a workspace with finished stages includes looking through them.

| | ${targets.join(' | ')} | together |
| --- | ${targets.map(() => '--:').join(' | ')} | --: |
${rows.join('\n')}
| together | ${totals.join(' | ')} | ${rounds.length} |

${failures.length === 0 ? 'No difference was found.' : `Differences:\n\n${failures.map((failure) => `- ${failure}`).join('\n')}\n`} Times are left out of the comparison, and what follows from them (hashes in
manifests) is checked within each workspace. An undisturbed run takes ${summary.undisturbedSeconds.toFixed(1)} s, all of this took
${(summary.seconds / 60).toFixed(0)} min on ${machine.cores === 1 ? 'one core' : `${machine.cores} cores`} (${machine.processor}, Node ${machine.node}) that other work shared (load ${machine.load.toFixed(1)}).
\`reliability.json\` has every kill.
`;
}
