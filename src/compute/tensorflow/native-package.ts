import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

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

/** TensorFlow's addon as it was found on this machine, or why there is none. */
export type NativePackage =
  | { readonly folder: string; readonly origin: string }
  | { readonly missing: string };

const require = createRequire(import.meta.url);

const npmNames: Readonly<Record<Flavour, string>> = {
  tensorflow: '@tensorflow/tfjs-node',
  'tensorflow-gpu': '@tensorflow/tfjs-node-gpu',
};

/**
 * Finds TensorFlow's addon without loading it: first the package beside kd-spec, if somebody installed it with npm,
 * then what `npm run native` made.
 */
export function findNativePackage(flavour: Flavour): NativePackage {
  const beside = installedFolder(npmNames[flavour]);
  if (beside !== undefined && hasAddon(beside)) {
    return { folder: beside, origin: `${npmNames[flavour]}, installed with npm` };
  }
  const made = nativeFolder(flavour);
  const folder = join(made, 'node_modules', '@tensorflow', 'tfjs-node');
  if (hasAddon(folder)) {
    const manifest = JSON.parse(readFileSync(join(made, nativeManifestFile), 'utf8')) as NativeManifest;
    return { folder, origin: `${manifest.origin}, in ${made}` };
  }
  return {
    missing:
      beside === undefined
        ? 'not installed'
        : `${npmNames[flavour]} is installed, but its native addon was not built`,
  };
}

function installedFolder(name: string): string | undefined {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

function hasAddon(folder: string): boolean {
  const library = join(folder, 'lib');
  return existsSync(library) && readdirSync(library).some((entry) => entry.startsWith('napi-v'));
}
