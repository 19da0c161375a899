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
