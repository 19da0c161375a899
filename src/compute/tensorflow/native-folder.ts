import { homedir } from 'node:os';
import { join } from 'node:path';

/** A build of TensorFlow: for the processor, or for NVIDIA's GPUs. */
export type Flavour = 'tensorflow' | 'tensorflow-gpu';

/** The release whose addon speaks to TensorFlow's C library. */
export const tfjsNodeVersion = '4.22.0';

/** The TensorFlow that `npm run native` takes from PyPI; its C library serves an addon that was written for 2.9. */
export const tensorflowVersion = '2.21.0';

/** What stands in `native.json` of a finished folder. */
export interface NativeManifest {
  /** Where TensorFlow came from, for a person. */
  readonly origin: string;
  readonly madeAt: string;
}

export const nativeManifestFile = 'native.json';

/**
 * Where `npm run native` keeps the native backends of a machine.
 *
 * Outside every `node_modules`, which `npm ci` empties, and so one folder serves every installation of kd-spec.
 *
 * @param env `KD_SPEC_NATIVE` names the folder, else it is `kd-spec/native` in the user's folder for caches
 */
export function nativeRoot(env: NodeJS.ProcessEnv = process.env): string {
  return env.KD_SPEC_NATIVE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kd-spec', 'native');
}

/** The name of a build's folder: another version is another folder, so that what is there is never stale. */
export function nativeFolderName(flavour: Flavour): string {
  const machine = `${process.platform}-${process.arch}`;
  return `${flavour}-${tensorflowVersion}-tfjs-node-${tfjsNodeVersion}-${machine}`;
}

export function nativeFolder(flavour: Flavour, env: NodeJS.ProcessEnv = process.env): string {
  return join(nativeRoot(env), nativeFolderName(flavour));
}
