import { availableParallelism } from 'node:os';

/**
 * The environment that gives one of several processes its share of the cores: TensorFlow would otherwise start a
 * thread for each core in every one of them, and they would wait for each other.
 *
 * @param processes how many compute side by side, at least 1
 * @param env a number of threads that the user chose stays
 */
export function shareOfMachine(
  processes: number,
  env: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  const threads = String(Math.max(1, Math.floor(availableParallelism() / processes)));
  return { TF_NUM_INTRAOP_THREADS: env.TF_NUM_INTRAOP_THREADS ?? threads };
}
