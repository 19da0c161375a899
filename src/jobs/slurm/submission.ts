import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';
import { packageFolder } from '../../core/package.js';
import {
  type Cluster,
  type CommandEnd,
  clusterWords,
  commandError,
  linesOf,
  type RunCommand,
} from './commands.js';
import { findByName } from './queue.js';
import { optionWords, type SlurmOptions, warningSeconds } from './slurm-options.js';
import { jobLogPath, type SlurmArray, type SlurmState, writeSlurmState } from './state.js';

/** What all arrays of a submission have in common. */
interface Submission {
  readonly command: readonly string[];
  readonly cluster: Cluster;
  readonly options: SlurmOptions;
  readonly log?: Log;
}

/** Refusals of an array that a smaller one may not meet: of its indices, or of how many jobs a user may have there. */
const tooLarge =
  /invalid job array|array.{0,40}(too large|exceed|limit)|MaxArraySize|MaxSubmitJob|job submit limit/i;
/** Failures after which the job may be there all the same. */
const unsure = /timed? ?out|socket|communication|connection|unable to contact/i;

/**
 * Submits jobs for positions, as few arrays as the cluster's MaxArraySize allows; what a site refuses as too large is
 * submitted in halves.
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
  { command, cluster, options, log = silentLog }: Submission,
): Promise<SlurmState> {
  await mkdir(join(folder, 'logs'), { recursive: true });
  let state = before;
  let size = cluster.maxArraySize;
  for (let first = 0; first < positions.length; ) {
    const chunk = positions.slice(first, first + size);
    const array: SlurmArray = {
      name: `kd-spec-${randomBytes(6).toString('hex')}`,
      jobId: null,
      cluster: cluster.asked,
      positions: chunk,
      submittedAt: new Date().toISOString(),
    };
    const earlier = state.arrays;
    await writeSlurmState(folder, { ...state, arrays: [...earlier, array] });
    const previous = options.atMost === null ? undefined : earlier.findLast(({ jobId }) => jobId !== null);
    const words = sbatchWords(array, {
      folder,
      options,
      after: previous?.jobId ?? null,
      afterCluster: previous?.cluster ?? null,
    });
    const script = batchScript({ command, positions: chunk, setup: options.setup });
    const end = await run('sbatch', words, script);
    const refusal = [...linesOf(end.stdout), ...linesOf(end.stderr)].join('; ');
    if (end.code !== 0 && chunk.length > 1 && tooLarge.test(refusal)) {
      size = Math.ceil(chunk.length / 2);
      log.warn(`sbatch refused an array of ${chunk.length} (${refusal}): trying arrays of ${size}`);
      continue;
    }
    const submitted = await identify(run, array, end);
    if (submitted === undefined) {
      const { message } = commandError('sbatch', end);
      const so = `${first} of ${positions.length} specialists were submitted before this; the same command again submits the others`;
      throw new KdSpecError('slurm-failed', first === 0 ? message : `${message}\n  ${so}`);
    }
    state = { ...state, arrays: [...earlier, { ...array, ...submitted }] };
    await writeSlurmState(folder, state);
    first += chunk.length;
  }
  return state;
}

type JobNumber = Pick<SlurmArray, 'jobId' | 'cluster'>;

/**
 * The number of an array, from what sbatch printed, or, where that leaves a doubt, from the queue by the array's name.
 *
 * @returns undefined when sbatch refused the array
 * @throws KdSpecError `slurm-failed` when sbatch ended well, and the number cannot be told
 */
async function identify(run: RunCommand, array: SlurmArray, end: CommandEnd): Promise<JobNumber | undefined> {
  const printed = end.code === 0 ? parseSubmission(end.stdout) : [];
  if (printed.length === 1) return { ...printed[0], cluster: printed[0].cluster ?? soleCluster(array) };
  if (end.code !== 0 && !unsure.test(end.stderr)) return undefined;
  const found = await findByName(run, array).catch((error: unknown) => {
    if (error instanceof KdSpecError && error.code === 'slurm-failed') return [];
    throw error;
  });
  // Where numbers of a welcome stand in both, the job's own is the one that both have.
  const both = found.filter(({ jobId }) => printed.some((candidate) => candidate.jobId === jobId));
  const [job, ...others] = both.length > 0 ? both : found;
  if (job !== undefined && others.length === 0) {
    const { cluster } = printed.find(({ jobId }) => jobId === job.jobId) ?? job;
    return { jobId: job.jobId, cluster: cluster ?? job.cluster };
  }
  if (end.code !== 0) return undefined;
  throw new KdSpecError(
    'slurm-failed',
    `expected a job's number from sbatch --parsable, got "${linesOf(end.stdout).join('; ')}": squeue ` +
      `--name=${array.name} tells whether the job is there; the same command again looks for it by that name ` +
      'before it submits another',
  );
}

const soleCluster = ({ cluster }: SlurmArray) => (cluster?.includes(',') ? null : cluster);

/**
 * Numbers of jobs, and their clusters where they are told, in what sbatch printed: lines `12` and `12;cluster`, or the
 * sentence that it prints without --parsable, among the lines that a site prints around them.
 */
export function parseSubmission(
  text: string,
): readonly { readonly jobId: string; readonly cluster: string | null }[] {
  const jobs = new Map<string, string | null>();
  for (const line of linesOf(text)) {
    const match =
      /^(\d+)(?:;(\S+))?$/.exec(line) ?? /\bSubmitted batch job (\d+)(?: on cluster (\S+))?/.exec(line);
    if (match) jobs.set(match[1], match[2] ?? jobs.get(match[1]) ?? null);
  }
  return [...jobs].map(([jobId, cluster]) => ({ jobId, cluster }));
}

/** The words after `sbatch`. */
export function sbatchWords(
  { name, positions }: SlurmArray,
  {
    folder,
    options,
    after,
    afterCluster = null,
  }: {
    readonly folder: string;
    readonly options: SlurmOptions;
    /** The array that this one waits for, and its cluster: a job can only wait for one of its own. */
    readonly after: string | null;
    readonly afterCluster?: string | null;
  },
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
    ...optionWords(options.options),
    ...(after === null ? [] : clusterWords(afterCluster)),
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
