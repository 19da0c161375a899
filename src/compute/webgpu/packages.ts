import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Dawn, Chrome's implementation of WebGPU, for Node; and TensorFlow.js's backend on WebGPU. */
export const webgpuPackages = { dawn: 'webgpu', kernels: '@tensorflow/tfjs-backend-webgpu' };

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
  const dawn = manifestOf(webgpuPackages.dawn);
  const kernels = manifestOf(webgpuPackages.kernels);
  if (!dawn && !kernels) return { missing: 'not installed' };
  if (!dawn || !kernels)
    return { missing: `${dawn ? webgpuPackages.kernels : webgpuPackages.dawn} is not installed` };
  const machine = `${process.platform}-${process.platform === 'darwin' ? 'universal' : process.arch}`;
  const folder = dirname(dawn);
  if (!existsSync(join(folder, 'dist', machine, 'dawn.node')))
    return { missing: `${webgpuPackages.dawn} ${versionIn(dawn)} has no build for ${machine}` };
  return {
    dawn: join(folder, 'index.js'),
    kernels: dirname(kernels),
    versions: `${webgpuPackages.dawn} ${versionIn(dawn)}, tfjs-backend-webgpu ${versionIn(kernels)}`,
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
