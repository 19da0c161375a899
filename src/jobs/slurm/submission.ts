import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { packageFolder } from '../../core/package.js';
import { type Cluster, type RunCommand, slurmOutput } from './commands.js';
import { type SlurmOptions, warningSeconds } from './slurm-options.js';
import { jobLogPath, type SlurmArray, type SlurmState, writeSlurmState } from './state.js';

/**
 * Submits jobs for positions, as few arrays as the cluster's MaxArraySize allows.
 *
 * Each array is written into the state before it is submitted, with a name that no other has, so that one whose
 * number was lost by a kill in between is found again. With `atMost`, an array starts after those before it, since
 * Slurm's own limit holds for one array alone.
 *
 * @returns the state with the new arrays in it
 * @throws KdSpecError `slurm-failed` with what sbatch said; arrays submitted before that stay
 */
export async function submitArrays(
  run: RunCommand,
  folder: string,
  before: SlurmState,
  positions: readonly number[],
  {
    command,
    cluster,
    options,
  }: { readonly command: readonly string[]; readonly cluster: Cluster; readonly options: SlurmOptions },
): Promise<SlurmState> {
  await mkdir(join(folder, 'logs'), { recursive: true });
  let state = before;
  for (let first = 0; first < positions.length; first += cluster.maxArraySize) {
    const chunk = positions.slice(first, first + cluster.maxArraySize);
    const array: SlurmArray = {
      name: `kd-spec-${randomBytes(6).toString('hex')}`,
      jobId: null,
      positions: chunk,
      submittedAt: new Date().toISOString(),
    };
    const earlier = state.arrays;
    await writeSlurmState(folder, { ...state, arrays: [...earlier, array] });
    const previous = earlier.findLast(({ jobId }) => jobId !== null)?.jobId ?? null;
    const words = sbatchWords(array, { folder, options, after: options.atMost === null ? null : previous });
    const printed = await slurmOutput(
      run,
      'sbatch',
      words,
      batchScript({ command, positions: chunk, setup: options.setup }),
    );
    const jobId = /^(\d+)/.exec(printed.trim())?.[1];
    if (jobId === undefined) {
      throw new KdSpecError('slurm-failed', `expected a job's number, sbatch said "${printed.trim()}"`);
    }
    state = { ...state, arrays: [...earlier, { ...array, jobId }] };
    await writeSlurmState(folder, state);
  }
  return state;
}

/** The words after `sbatch`. */
export function sbatchWords(
  { name, positions }: SlurmArray,
  {
    folder,
    options,
    after,
  }: { readonly folder: string; readonly options: SlurmOptions; readonly after: string | null },
): readonly string[] {
  const { partition, account, time, memory, cpus, gpus, atMost } = options;
  const limit = atMost === null ? '' : `%${atMost}`;
  return [
    '--parsable',
    `--job-name=${name}`,
    `--array=0-${positions.length - 1}${limit}`,
    '--requeue',
    '--open-mode=append',
    `--output=${jobLogPath(folder)}`,
    `--signal=B:USR1@${warningSeconds(time)}`,
    '--nodes=1',
    '--ntasks=1',
    `--cpus-per-task=${cpus}`,
    ...(partition === null ? [] : [`--partition=${partition}`]),
    ...(account === null ? [] : [`--account=${account}`]),
    ...(time === null ? [] : [`--time=${time}`]),
    ...(memory === null ? [] : [`--mem=${memory}`]),
    ...(gpus === 0 ? [] : [`--gres=gpu:${gpus}`]),
    ...(after === null ? [] : [`--dependency=afterany:${after}`]),
    ...(options.options?.split(/\s+/).filter((word) => word !== '') ?? []),
  ];
}

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

/** The command line that trains one specialist of a workspace; its position follows as the last word. */
export function trainingCommand(workspace: string): readonly string[] {
  const program = join(packageFolder(), 'dist', 'cli', 'main.js');
  return [process.execPath, program, 'jobs', 'train', '--workspace', workspace, '--position'];
}
