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
