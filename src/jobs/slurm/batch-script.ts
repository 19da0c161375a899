/** What one job array runs. */
export interface ArrayJob {
  /** The command that trains the specialist of a position, which follows as its last word. */
  readonly command: readonly string[];
  /** The position of each task, by the task's number. */
  readonly positions: readonly number[];
  readonly setup: string | null;
}

/**
 * The script of a job array: task i trains the specialist at positions[i].
 *
 * `exec` puts kd-spec in the place of the shell, so that Slurm's signals reach it.
 */
export function batchScript({ command, positions, setup }: ArrayJob): string {
  return [
    '#!/bin/bash',
    ...(setup === null ? [] : [setup]),
    `positions=(${positions.join(' ')})`,
    `exec ${command.map(quoted).join(' ')} "\${positions[$SLURM_ARRAY_TASK_ID]}"`,
    '',
  ].join('\n');
}

/** A word for the shell as it stands. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
