import { execFile } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { KdSpecError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';

/** How a Slurm command ended. */
export interface CommandEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a Slurm command by its name; the tests of parsers pass their own. */
export type RunCommand = (name: string, words: readonly string[], input?: string) => Promise<CommandEnd>;

const patienceMs = 60_000; // a busy controller takes its time
const outputBytes = 256 << 20; // a line for each of a million jobs

/**
 * Variables of a user's shell that would change what Slurm's commands print (SQUEUE_FORMAT), which jobs they see
 * (SQUEUE_ACCOUNT), how words are read (POSIXLY_CORRECT), or how long they take (SBATCH_WAIT). Those that choose a
 * partition, an account or a cluster for sbatch are the user's wish and stay.
 */
const foreignVariable =
  /^(SQUEUE_.*|SACCT_.*|SCANCEL_.*|SCONTROL_.*|SBATCH_WAIT|SBATCH_ARRAY_INX|POSIXLY_CORRECT)$/;

function commandEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !foreignVariable.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: 'C', SLURM_TIME_FORMAT: '%s' };
}

/**
 * Runs one of Slurm's own commands, in the C locale, with times in seconds since 1970.
 *
 * @throws KdSpecError `slurm-failed` when it is not installed or does not answer
 */
export const runSlurmCommand: RunCommand = (name, words, input) =>
  new Promise((resolve, reject) => {
    const env = commandEnvironment();
    const child = execFile(
      name,
      [...words],
      { env, timeout: patienceMs, killSignal: 'SIGKILL', maxBuffer: outputBytes },
      (error, stdout, stderr) => {
        if (error?.code === 'ENOENT') {
          const where = 'is Slurm installed here, and its bin folder in PATH? --engine local needs none';
          reject(new KdSpecError('slurm-failed', `expected the command ${name}, found none: ${where}`));
        } else if (error?.killed) {
          reject(
            new KdSpecError(
              'slurm-failed',
              `${name} did not respond within ${patienceMs / 1000} seconds: check the controller with scontrol ping, and try again`,
            ),
          );
        } else {
          resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
        }
      },
    );
    child.stdin?.on('error', () => {}); // a command that reads nothing closes it
    child.stdin?.end(input);
  });

/**
 * The lines of what a command printed, without the colours and blanks around them. A site may print a welcome, checks or
 * warnings before and after what was asked for, so every reader takes the lines that it knows and leaves the others.
 */
export function linesOf(text: string): readonly string[] {
  return stripVTControlCharacters(text)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** The word that sends a Slurm command to a cluster by name; none for the cluster of this machine. */
export function clusterWords(cluster: string | null): readonly string[] {
  return cluster === null ? [] : [`--clusters=${cluster}`];
}

/** What to do about a refusal that a site's rules are behind, by the words of it. */
const adviceByWords: readonly (readonly [RegExp, string])[] = [
  [
    /\baccount/i,
    '--slurm-account names the account to charge; sacctmgr show associations user=$USER lists yours',
  ],
  [/\bqos\b/i, '--slurm-options=--qos=NAME chooses a quality of service'],
  [/\bpartition/i, '--slurm-partition names the partition; sinfo lists them'],
  [/time (limit|specification)|--time/i, '--slurm-time sets the time limit, e.g. 90 (minutes) or 4:00:00'],
  [/\bmem(ory)?\b/i, '--slurm-memory sets the memory of a job, e.g. 8G'],
  [
    /\bgres\b|generic resource|\bgpus?\b/i,
    '--slurm-gpus 0 with --slurm-options requests GPUs in the way of this site',
  ],
  [/\bcluster/i, '--slurm-options=--clusters=NAME chooses the cluster; sacctmgr show clusters lists them'],
];
const longestSaying = 12; // lines: what a command says of an error stands at the end of what a site has it say

/** The error for a command that ended badly: what it said, and what may help. */
export function commandError(name: string, { code, stdout, stderr }: CommandEnd): KdSpecError {
  const said = [...linesOf(stdout).slice(-longestSaying), ...linesOf(stderr).slice(-longestSaying)];
  const text = said.join('; ') || 'nothing';
  const advice =
    name === 'sbatch'
      ? adviceByWords.filter(([words]) => words.test(linesOf(stderr).join(' '))).map(([, help]) => help)
      : [];
  return new KdSpecError(
    'slurm-failed',
    [`${name} ended with ${code} and printed: ${text}`, ...advice].join('\n  '),
  );
}

/**
 * What a Slurm command that must succeed prints.
 *
 * @throws KdSpecError `slurm-failed` with what the command said
 */
export async function slurmOutput(
  run: RunCommand,
  name: string,
  words: readonly string[],
  input?: string,
): Promise<string> {
  const end = await run(name, words, input);
  if (end.code === 0) return end.stdout;
  throw commandError(name, end);
}

/** The first Slurm that has all we ask for; older ones lack parts of `--signal` for arrays and of `sacct -P`. */
const leastVersion = [20, 11] as const;
const usualArraySize = 1001; // Slurm's default of MaxArraySize

/** What has to be known of a cluster before anything is submitted. */
export interface Cluster {
  readonly version: string;
  /** Most tasks of one array: their numbers go from 0 to one less. */
  readonly maxArraySize: number;
  /** Clusters by name, separated by commas, that jobs are to go to; null for the one of this machine. */
  readonly asked: string | null;
}

/**
 * Looks which Slurm answers here, and what the clusters allow that jobs are to go to.
 *
 * A cluster that does not say its MaxArraySize is taken to have Slurm's default, with a warning: an array that is too
 * large for it is refused, and submitted in smaller ones.
 *
 * @param options.asked clusters by name, separated by commas; null for the one of this machine
 * @throws KdSpecError `slurm-failed` when none answers, when it is too old, or when it allows no arrays
 */
export async function readCluster(
  run: RunCommand,
  { asked = null, log = silentLog }: { readonly asked?: string | null; readonly log?: Log } = {},
): Promise<Cluster> {
  const version = parseVersion(await slurmOutput(run, 'sbatch', ['--version']));
  let maxArraySize = Number.POSITIVE_INFINITY;
  for (const name of asked?.split(',') ?? [null]) {
    maxArraySize = Math.min(maxArraySize, await readMaxArraySize(run, name, log));
  }
  return { version, maxArraySize, asked };
}

async function readMaxArraySize(run: RunCommand, cluster: string | null, log: Log): Promise<number> {
  const shown = await trial(run, 'scontrol', ['show', 'config', ...clusterWords(cluster)]);
  const where = cluster === null ? 'this cluster' : `the cluster ${cluster}`;
  const text = /^\s*MaxArraySize\s*=\s*(\d+)/m.exec(linesOf(shown.stdout).join('\n'))?.[1];
  if (text === undefined) {
    const why = linesOf(shown.stderr).at(-1) ?? 'it printed none';
    log.warn(`scontrol does not tell the MaxArraySize of ${where} (${why}): taken to be ${usualArraySize}`);
    return usualArraySize;
  }
  if (Number(text) >= 1) return Number(text);
  throw new KdSpecError(
    'slurm-failed',
    `expected a MaxArraySize of 1 or more, got ${text}: ${where} allows no job arrays; ` +
      'ask its administrators, or train with --engine local inside a job of your own',
  );
}

/** How a command ended that a site may lack or forbid: one that cannot be run has failed, and said why. */
export async function trial(run: RunCommand, name: string, words: readonly string[]): Promise<CommandEnd> {
  try {
    return await run(name, words);
  } catch (error) {
    if (!(error instanceof KdSpecError && error.code === 'slurm-failed')) throw error;
    return { code: 127, stdout: '', stderr: error.message };
  }
}

/** The version in `slurm-wlm 22.05.8` or `slurm 23.11.4`, wherever it stands in what `sbatch --version` printed. */
export function parseVersion(text: string): string {
  const match = /^slurm\S*\s+((\d+)\.(\d+)\S*)/im.exec(linesOf(text).join('\n'));
  if (!match) {
    throw new KdSpecError(
      'slurm-failed',
      `expected a line such as "slurm 23.11.4" from sbatch --version, got "${linesOf(text).join('; ')}"`,
    );
  }
  const [, version, major, minor] = match;
  const [leastMajor, leastMinor] = leastVersion;
  if (Number(major) < leastMajor || (Number(major) === leastMajor && Number(minor) < leastMinor)) {
    throw new KdSpecError(
      'slurm-failed',
      `expected Slurm ${leastVersion.join('.')} or later, found ${version}: use a login node with a later one`,
    );
  }
  return version;
}
