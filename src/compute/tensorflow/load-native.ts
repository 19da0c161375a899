import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Flavour } from './native-folder.js';
import { findNativePackage } from './native-package.js';
import { signalSafety } from './signal-safety.js';

const require = createRequire(import.meta.url);

let loaded: Flavour | undefined;

/** Devices through which a program reaches NVIDIA's driver, on Linux and on Windows' Linux. */
const driverDevices = ['/dev/nvidiactl', '/dev/dxg'];

/** Why a build cannot be used here, found out without loading it; undefined when nothing speaks against it. */
export function whyNotNative(flavour: Flavour): string | undefined {
  const found = findNativePackage(flavour);
  if ('missing' in found) return found.missing;
  if (flavour === 'tensorflow-gpu' && process.platform === 'linux' && !driverDevices.some(existsSync)) {
    return `installed, but this machine shows no NVIDIA GPU (neither ${driverDevices.join(' nor ')} exists)`;
  }
  return undefined;
}

/**
 * Loads TensorFlow's addon, which registers the TensorFlow.js backend `tensorflow`.
 *
 * @returns whether TensorFlow computes on a GPU
 * @throws Error when it cannot be loaded
 */
export async function loadNative(flavour: Flavour): Promise<{ readonly usesGpu: boolean }> {
  const found = findNativePackage(flavour);
  if ('missing' in found) throw new Error(found.missing);
  if (loaded !== undefined && loaded !== flavour) {
    throw new Error(`this process has loaded ${loaded}, and a process can hold one build of TensorFlow`);
  }
  prepareProcess();
  loaded = flavour;
  const tf = await import('@tensorflow/tfjs');
  requireQuietly(found.folder);
  if (!(await tf.setBackend('tensorflow'))) throw new Error('TensorFlow.js could not start it');
  await tf.ready();
  return { usesGpu: (tf.backend() as unknown as { isUsingGpuDevice: boolean }).isUsingGpuDevice };
}

/** What must hold before the addon is loaded. */
function prepareProcess(): void {
  // TensorFlow tells of every feature of the processor; its errors come to us as exceptions.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  // Several processes may share a GPU, so that none may take all of its memory at its start.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  Object.assign(process.env, signalSafety());
  // tfjs-node 4.22 calls functions that Node 23 removed, and that Node 22 warns of.
  Object.assign(require('node:util'), {
    isArray: Array.isArray,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  });
  // The folder that `npm run native` makes holds, in place of TensorFlow.js, a module that is whatever stands here:
  // the addon must register itself with the same TensorFlow.js that kd-spec computes with.
  Object.assign(globalThis, { [Symbol.for('kd-spec.tensorflow.js')]: require('@tensorflow/tfjs') });
}

/** Loads the addon; `npm run native` puts a module beside it that keeps standard error clean meanwhile. */
function requireQuietly(folder: string): void {
  const path = join(folder, 'lib', 'quiet.node');
  const quiet: { turnAway(): void; turnBack(): void } | undefined = existsSync(path)
    ? require(path)
    : undefined;
  quiet?.turnAway();
  try {
    require(folder);
  } finally {
    quiet?.turnBack();
  }
}
