import { readFileSync } from 'node:fs';

/**
 * The environment in which signals do no harm to TensorFlow, to be set before it is loaded.
 *
 * TensorFlow has oneDNN's sgemm multiply the blocks of its products and convolutions. On a processor without AVX-512
 * a signal that is handled meanwhile (Ctrl-C, SIGTERM, a profiler's) corrupts the heap, and the process aborts
 * (TensorFlow 2.21; why was not found out). Eigen's own code, which took a tenth to a half more time on such a
 * processor, is not harmed. With AVX-512 another kernel multiplies, which is not harmed either.
 *
 * @param processor what /proc/cpuinfo says
 * @param env a choice that the user made stays
 */
export function signalSafety(
  processor = describedProcessor(),
  env: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  const { [variable]: chosen = /\bavx512f\b/.test(processor) ? undefined : 'false' } = env;
  return chosen === undefined ? {} : { [variable]: chosen };
}

const variable = 'TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL';

/** Empty where the system does not tell. */
function describedProcessor(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}
