import { existsSync, readdirSync } from 'node:fs';
import { installCommand } from '../../core/package.js';
import type { Availability, BackendKind } from '../backend-kind.js';
import { findWebgpuPackages, webgpuPackages } from './packages.js';

/** Any GPU, through Dawn: Vulkan on Linux, Metal on macOS, Direct3D 12 on Windows. */
export const webgpu = {
  name: 'webgpu',
  install: installCommand(Object.values(webgpuPackages)),
  usesGpu: true,
  find(): Availability {
    const found = findWebgpuPackages();
    if ('missing' in found) return { isAvailable: false, reason: found.missing };
    if (!showsGpu()) {
      return {
        isAvailable: false,
        reason: `${found.versions}, but this machine shows no GPU (no ${renderNodes}/renderD*)`,
        remedy: 'install the Vulkan driver of its GPU',
      };
    }
    return { isAvailable: true, reason: found.versions };
  },
  async look(): Promise<Availability> {
    const found = this.find();
    if (!found.isAvailable) return found;
    const loaded = await this.load({ isNamed: false });
    if (!('missing' in loaded)) return { isAvailable: true, reason: `${found.reason}, on ${loaded.device}` };
    return { isAvailable: false, reason: loaded.missing, remedy: 'install the driver of its GPU' };
  },
  async load({ isNamed }: { readonly isNamed: boolean }) {
    const found = findWebgpuPackages();
    if ('missing' in found) return { missing: found.missing };
    const { startWebgpu } = await import('./start.js');
    return startWebgpu(found, { acceptsSoftware: isNamed });
  },
} as const satisfies BackendKind;

const renderNodes = '/dev/dri';

/** Whether the system shows a GPU at all; only Linux tells without a driver's help. */
function showsGpu(env: NodeJS.ProcessEnv = process.env): boolean {
  if (process.platform !== 'linux') return true;
  // A driver that was named need not have a device: a software driver has none.
  if (env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES) return true;
  if (['/dev/nvidiactl', '/dev/dxg'].some(existsSync)) return true;
  return existsSync(renderNodes) && readdirSync(renderNodes).some((name) => name.startsWith('renderD'));
}
