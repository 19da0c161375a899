import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Flavour, tfjsNodeVersion } from '../../src/compute/tensorflow/native-package.js';
import { installAddonPackage } from './addon-package.js';

/** tfjs-node's own way: its install script downloads the C library that it was released with, and the addon. */
export async function fromOwnWay(folder: string, flavour: Flavour): Promise<string> {
  if (flavour !== 'tensorflow') throw new Error('its own library for GPUs needs CUDA 11');
  const installed = await installAddonPackage(folder, { scripts: true });
  if (!existsSync(join(installed, 'lib'))) throw new Error('its install script ended without an addon');
  return `tfjs-node ${tfjsNodeVersion} with the TensorFlow that it downloads`;
}
