import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import type { BackendKind } from '../backend-kind.js';

const require = createRequire(import.meta.url);

/** TensorFlow.js's wasm backend with kernels of our own on its memory: it is embedded, and needs nothing. */
export const wasm = {
  name: 'wasm',
  install: 'npm install @tensorflow/tfjs-backend-wasm',
  usesGpu: false,
  usesOneCore: true,
  find: () =>
    folder() === undefined
      ? { isAvailable: false, reason: 'not installed' }
      : { isAvailable: true, reason: 'embedded, needs nothing' },
  async load() {
    const place = folder();
    if (place === undefined) return { missing: 'not installed' };
    const { startWasm } = await import('./operations.js');
    return startWasm(place);
  },
} as const satisfies BackendKind;

/** Where the package keeps its WebAssembly. */
function folder(): string | undefined {
  try {
    return join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist') + sep;
  } catch {
    return undefined;
  }
}
