import { KdSpecError } from '../../core/errors.js';

/** What a user asks of Slurm for each job. Null leaves it to the cluster. */
export interface SlurmOptions {
  readonly partition: string | null;
  readonly account: string | null;
  /** As Slurm writes times: minutes, h:m:s, d-h:m:s and so on. */
  readonly time: string | null;
  /** As Slurm writes memory, e.g. `8G`. */
  readonly memory: string | null;
  readonly cpus: number;
  readonly gpus: number;
  /** Most jobs that run at once. */
  readonly atMost: number | null;
  /** Further words for sbatch, e.g. `--qos=long --constraint=a100`. */
  readonly options: string | null;
  /** Shell text that runs before kd-spec in each job, e.g. `module load cuda`. */
  readonly setup: string | null;
}

const longestWarningSeconds = 120;

/**
 * How long before its time limit a job is told to write its checkpoint.
 *
 * Slurm looks about once a minute, so the signal may come up to a minute early; a quarter of a short limit leaves
 * time to train in.
 */
export function warningSeconds(time: string | null): number {
  const limit = time === null ? undefined : parseTimeLimit(time);
  return limit === undefined ? longestWarningSeconds : Math.min(longestWarningSeconds, Math.ceil(limit / 4));
}

/**
 * Seconds of a job's time limit, written as Slurm's sbatch takes it: `m`, `m:s`, `h:m:s`, `d-h`, `d-h:m` or `d-h:m:s`.
 *
 * @returns undefined for any other text, and for 0, which is no limit
 */
export function parseTimeLimit(text: string): number | undefined {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text.trim());
  if (!match) return undefined;
  const [, days, first, second = 0, third = 0] = match;
  const [a, b, c] = [Number(first), Number(second), Number(third)];
  const hasHours = days !== undefined || match[4] !== undefined;
  const seconds = hasHours ? Number(days ?? 0) * 86_400 + a * 3600 + b * 60 + c : a * 60 + b;
  return seconds === 0 ? undefined : seconds;
}

/**
 * The clusters that jobs are to go to by sbatch's own words, or by its variables: names separated by commas.
 *
 * @returns null for the cluster of this machine
 */
export function askedClusters(
  { options }: SlurmOptions,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const words = optionWords(options);
  let asked: string | undefined;
  for (const [index, word] of words.entries()) {
    const match = /^(?:-M=?|--clusters?(?:=|$))(.*)$/.exec(word);
    if (match) asked = match[1] === '' ? words[index + 1] : match[1];
  }
  return asked || env.SBATCH_CLUSTERS || env.SLURM_CLUSTERS || null;
}

/** The further words for sbatch. */
export function optionWords(options: string | null): readonly string[] {
  return options?.split(/\s+/).filter((word) => word !== '') ?? [];
}

/**
 * Checks what can be checked without Slurm, before anything is computed for it.
 *
 * @throws KdSpecError `option-invalid`
 */
export function checkSlurmOptions({ time, memory }: SlurmOptions): void {
  if (time !== null && parseTimeLimit(time) === undefined && !/^(0|INFINITE|UNLIMITED)$/i.test(time.trim())) {
    throw new KdSpecError(
      'option-invalid',
      `--slurm-time: expected a time as sbatch takes it, such as 90 (minutes), 4:00:00 or 1-12 (days and hours), got "${time}"`,
    );
  }
  if (memory !== null && !/^\d+[KMGT]?B?$/i.test(memory.trim())) {
    throw new KdSpecError(
      'option-invalid',
      `--slurm-memory: expected a number and a unit as sbatch takes them, such as 8G or 500M, got "${memory}"`,
    );
  }
}
