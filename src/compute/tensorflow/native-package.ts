import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Flavour, type NativeManifest, nativeFolder, nativeManifestFile } from './native-folder.js';

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
