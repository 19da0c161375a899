import { execFile } from 'node:child_process';
import { KdSpecError } from '../../core/errors.js';

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
 * Runs one of Slurm's own commands, in the C locale, with times in seconds since 1970.
 *
 * @throws KdSpecError `slurm-failed` when it is not installed or does not answer
 */
export const runSlurmCommand: RunCommand = (name, words, input) =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: 'C', SLURM_TIME_FORMAT: '%s' };
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
              `${name} did not answer within ${patienceMs / 1000} seconds: see what scontrol ping says, and try again`,
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
  const { code, stdout, stderr } = await run(name, words, input);
  if (code === 0) return stdout;
  const said = stderr.trim().split('\n').join('; ') || 'nothing';
  throw new KdSpecError('slurm-failed', `${name} ended with ${code} and said: ${said}`);
}

/** The first Slurm that has all we ask for; older ones lack parts of `--signal` for arrays and of `sacct -P`. */
const leastVersion = [20, 11] as const;

/** What has to be known of a cluster before anything is submitted. */
export interface Cluster {
  readonly version: string;
  /** Most tasks of one array: their numbers go from 0 to one less. */
  readonly maxArraySize: number;
}

/**
 * Looks which Slurm answers here.
 *
 * @throws KdSpecError `slurm-failed` when none does, when it is too old, or when it allows no arrays
 */
export async function readCluster(run: RunCommand): Promise<Cluster> {
  const version = parseVersion(await slurmOutput(run, 'sbatch', ['--version']));
  const config = await slurmOutput(run, 'scontrol', ['show', 'config']);
  const maxArraySize = Number(/^MaxArraySize\s*=\s*(\d+)/m.exec(config)?.[1]);
  if (!(maxArraySize >= 1)) {
    throw new KdSpecError(
      'slurm-failed',
      `expected a MaxArraySize of 1 or more, got ${maxArraySize || 'none'}: this cluster allows no job arrays; ` +
        'ask its administrators, or train with --engine local inside a job of your own',
    );
  }
  return { version, maxArraySize };
}

/** The version in `slurm-wlm 22.05.8` or `slurm 23.11.4`. */
export function parseVersion(text: string): string {
  const match = /^\S+ ((\d+)\.(\d+)\S*)/.exec(text.trim());
  if (!match) throw new KdSpecError('slurm-failed', `expected a Slurm version, sbatch said "${text.trim()}"`);
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
