import { KdSpecError } from '../../core/errors.js';
import { type RunCommand, slurmOutput } from './commands.js';

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
