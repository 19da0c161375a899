import { fileURLToPath } from 'node:url';
import { whyNotNative } from '../../src/compute/tensorflow/load-native.js';
import type { Flavour } from '../../src/compute/tensorflow/native-folder.js';
import { runProgram } from './run-program.js';

const program = fileURLToPath(new URL('./training-step.ts', import.meta.url));

/**
 * Trains a small network for some steps on a backend, in a process of its own, and on wasm.
 *
 * @param root the folder in which the native backend lies
 * @returns what was found, in a line
 * @throws Error when the backend does not load, or trains otherwise than wasm
 */
export async function check(flavour: Flavour, root: string): Promise<string> {
  const env = { KD_SPEC_NATIVE: root };
  const missing = flavour === 'tensorflow-gpu' ? whyNotNative(flavour) : undefined;
  if (missing !== undefined) return `  not checked by training: ${missing}`;
  const run = (backend: string) =>
    runProgram(process.execPath, ['--import', 'tsx', program, backend], { env });
  const [native, wasm] = [await run(flavour), await run('wasm')].map(Number) as [number, number];
  if (!(Math.abs(native - wasm) < 1e-3 * Math.abs(wasm))) {
    throw new Error(`after 20 steps of training the loss is ${native}, and ${wasm} on wasm`);
  }
  return `  checked: after 20 steps of training the loss is ${native.toFixed(6)}, and ${wasm.toFixed(6)} on wasm`;
}
