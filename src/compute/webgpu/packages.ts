import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { packageFolder } from '../../core/package.js';

/** Dawn, Chrome's implementation of WebGPU, for Node; and TensorFlow.js's backend on WebGPU. */
const names = { dawn: 'webgpu', kernels: '@tensorflow/tfjs-backend-webgpu' };

const isClone = existsSync(join(packageFolder(), 'tsconfig.json'));

/** What to type. In a clone the manifest stays as it is; npm would skip there what the manifest calls an optional peer. */
export const installCommand = `npm install ${isClone ? '--no-save --save-optional ' : ''}${names.dawn} ${names.kernels}`;

/** The two packages as they were found, or what is missing. */
export type WebgpuPackages =
  | {
      /** The module to import. */
      readonly dawn: string;
      /** The module to require. */
      readonly kernels: string;
      /** Of both, for a person and for the names of what is remembered. */
      readonly versions: string;
    }
  | { readonly missing: string };

const require = createRequire(import.meta.url);

/** Finds the packages without loading them. */
export function findWebgpuPackages(): WebgpuPackages {
  const dawn = manifestOf(names.dawn);
  const kernels = manifestOf(names.kernels);
  if (!dawn && !kernels) return { missing: 'not installed' };
  if (!dawn || !kernels) return { missing: `${dawn ? names.kernels : names.dawn} is not installed` };
  const machine = `${process.platform}-${process.platform === 'darwin' ? 'universal' : process.arch}`;
  const folder = dirname(dawn);
  if (!existsSync(join(folder, 'dist', machine, 'dawn.node')))
    return { missing: `${names.dawn} ${versionIn(dawn)} has no build for ${machine}` };
  return {
    dawn: join(folder, 'index.js'),
    kernels: dirname(kernels),
    versions: `${names.dawn} ${versionIn(dawn)}, tfjs-backend-webgpu ${versionIn(kernels)}`,
  };
}

/** The path of an installed package's manifest. */
function manifestOf(name: string): string | undefined {
  try {
    return require.resolve(`${name}/package.json`);
  } catch {
    return undefined;
  }
}

function versionIn(manifest: string): string {
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { readonly version: string }).version;
}
