import { fileURLToPath } from 'node:url';
import type { Flavour } from '../../src/compute/tensorflow/native-package.js';
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
  const run = async (backend: string) => {
    const output = await runProgram(process.execPath, ['--import', 'tsx', program, backend], { env });
    return JSON.parse(output.trim().split('\n').at(-1) ?? '') as { loss: number; usesGpu: boolean };
  };
  const [native, wasm] = [await run(flavour), await run('wasm')];
  if (!(Math.abs(native.loss - wasm.loss) < 1e-3 * wasm.loss)) {
    throw new Error(`after 20 steps of training the loss is ${native.loss}, and ${wasm.loss} on wasm`);
  }
  return (
    `  checked on the ${native.usesGpu ? 'GPU' : 'processor'}: after 20 steps of training the loss is ` +
    `${native.loss.toFixed(6)}, and ${wasm.loss.toFixed(6)} on wasm` +
    (flavour === 'tensorflow-gpu' && !native.usesGpu
      ? '\n  the GPU was not checked: TensorFlow finds none that it can use here'
      : '')
  );
}
