import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { BackendKind } from '../backend-kind.js';
import { type Flavour, findNativePackage } from './native-package.js';

/** TensorFlow's C library under tfjs-node. */
export const tensorflow = {
  name: 'tensorflow',
  install: 'npm run native',
  usesGpu: false,
  find: () => findNative('tensorflow'),
  async load() {
    const { loadNative } = await import('./load-native.js');
    return loadNative('tensorflow');
  },
  environment: (processes: number) => shareOfMachine(processes),
} as const satisfies BackendKind;

/** The same, built for NVIDIA's GPUs. It computes on the processor if it must, which `auto` takes for `tensorflow`. */
export const tensorflowGpu = {
  name: 'tensorflow-gpu',
  install: 'npm run native -- --gpu',
  usesGpu: true,
  find: () => findNative('tensorflow-gpu'),
  async load() {
    const { loadNative } = await import('./load-native.js');
    return loadNative('tensorflow-gpu');
  },
} as const satisfies BackendKind;

/** Devices through which a program reaches NVIDIA's driver, on Linux and on Windows' Linux. */
const driverDevices = ['/dev/nvidiactl', '/dev/dxg'];

/** Whether a build can be used here, found out without loading it. */
function findNative(flavour: Flavour): ReturnType<BackendKind['find']> {
  const found = findNativePackage(flavour);
  if ('missing' in found) return { isAvailable: false, reason: found.missing };
  if (flavour === 'tensorflow-gpu' && process.platform === 'linux' && !driverDevices.some(existsSync)) {
    const devices = driverDevices.join(' nor ');
    return {
      isAvailable: false,
      reason: `installed, but this machine shows no NVIDIA GPU (neither ${devices} exists)`,
      remedy: "install NVIDIA's driver for its GPU",
    };
  }
  return { isAvailable: true, reason: found.origin };
}

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
