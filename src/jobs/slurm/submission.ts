import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { batchScript } from './batch-script.js';
import type { Cluster } from './cluster.js';
import { type RunCommand, slurmOutput } from './commands.js';
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
