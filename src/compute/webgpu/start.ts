import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import type { Operations } from '../operations.js';
import { claim, initialise, silenceHint } from '../tensorflow-js/engine.js';
import { createOperations } from '../tensorflow-js/operations.js';
import { createGpu } from './gpu.js';
import { kernelsOn } from './kernels.js';
import type { WebgpuPackages } from './packages.js';

const require = createRequire(import.meta.url);

// The part of WebGPU that starts a device; Node has no types for it.
interface Adapter {
  readonly info: Readonly<Record<string, unknown>>;
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number | undefined>>;
  requestDevice(description: object): Promise<object>;
}
interface Instance {
  requestAdapter(options: object): Promise<Adapter | null>;
}
interface Dawn {
  readonly globals: object;
  create(options: readonly string[]): Instance;
}
type BackendConstructor = new (device: object, information: object) => tf.KernelBackend;

/** Limits of which a device gets all that its adapter has; by default it gets what every GPU has. */
const wantedLimits = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
];

/** Dawn, once it is started; what holds it keeps its devices alive. */
let instance: Instance | undefined;

/**
 * Starts Dawn and TensorFlow.js's WebGPU backend on it, with our kernels.
 *
 * @param options.acceptsSoftware whether a driver will do that computes on the processor, more slowly than wasm
 */
export async function startWebgpu(
  packages: Exclude<WebgpuPackages, { readonly missing: string }>,
  { acceptsSoftware }: { readonly acceptsSoftware: boolean },
): Promise<Operations | { readonly missing: string }> {
  silenceHint();
  let dawn: Dawn;
  let adapter: Adapter | null;
  try {
    dawn = await importDawn(packages.dawn);
    instance ??= dawn.create([]);
    adapter =
      (await instance.requestAdapter({ powerPreference: 'high-performance' })) ??
      (acceptsSoftware ? await instance.requestAdapter({ forceFallbackAdapter: true }) : null);
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
  if (!adapter) return { missing: `Dawn finds no GPU that it can use${advice()}` };
  const device = deviceName(adapter.info);
  const isSoftware = computesOnProcessor(adapter.info);
  if (isSoftware && !acceptsSoftware)
    return { missing: `there is a software driver alone (${device}), which is taken by name, not by auto` };

  const backend = await startBackend(dawn, adapter, packages.kernels);
  if (!backend) return { missing: 'TensorFlow.js could not start it' };
  silenceHint();
  if (!tf.getBackend()) claim('webgpu');
  return createOperations({
    name: 'webgpu',
    registered: 'webgpu',
    device: `${device}${isSoftware ? ', a software driver' : ''}`,
    kernels: kernelsOn(createGpu(backend)),
  });
}

async function importDawn(path: string): Promise<Dawn> {
  const dawn: unknown = await import(pathToFileURL(path).href);
  if (!isDawn(dawn)) throw new Error('the package webgpu is not the one that kd-spec knows');
  return dawn;
}

const isDawn = (value: unknown): value is Dawn =>
  typeof value === 'object' && value !== null && 'globals' in value && 'create' in value;

/** TensorFlow.js's WebGPU backend on a device of the adapter, or the one that the program has started. */
async function startBackend(
  { globals }: Dawn,
  adapter: Adapter,
  kernels: string,
): Promise<tf.KernelBackend | undefined> {
  if ('webgpu' in tf.engine().registry) return tf.findBackend('webgpu');
  Object.assign(globalThis, globals); // classes and constants that the backend expects, as in a browser
  const hide = showInstance();
  try {
    const { WebGPUBackend } = require(kernels) as { readonly WebGPUBackend: BackendConstructor };
    const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
    const requiredFeatures = ['timestamp-query'].filter((feature) => adapter.features.has(feature));
    const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
    // The package's own registration would take any adapter; ours has been looked at.
    tf.removeBackend('webgpu');
    tf.registerBackend('webgpu', () => new WebGPUBackend(device, adapter.info));
    return await initialise('webgpu');
  } finally {
    hide();
  }
}

/**
 * Sets `navigator.gpu` while the backend starts, which looks for it there. Node 20 has no `navigator`.
 *
 * @returns takes it away again: what finds it in Node would take the process for a browser
 */
function showInstance(): () => void {
  const navigator: unknown = Reflect.get(globalThis, 'navigator');
  if (typeof navigator === 'object' && navigator !== null) {
    if ('gpu' in navigator) return () => {};
    Object.defineProperty(navigator, 'gpu', { value: instance, configurable: true });
    return () => {
      Reflect.deleteProperty(navigator, 'gpu');
    };
  }
  Reflect.set(globalThis, 'navigator', { gpu: instance });
  return () => {
    Reflect.deleteProperty(globalThis, 'navigator');
  };
}

function deviceName(info: Adapter['info']): string {
  const said = ['description', 'device', 'vendor'].map((key) => info[key]);
  return String(said.find((value) => typeof value === 'string' && value !== '') ?? 'a GPU without a name');
}

/** Names of drivers that compute on the processor: Mesa's, Google's and Microsoft's. */
const softwareNames = /llvmpipe|lavapipe|swiftshader|software|basic render|\bwarp\b/i;

function computesOnProcessor(info: Adapter['info']): boolean {
  if (info.isFallbackAdapter === true) return true;
  return ['vendor', 'architecture', 'device', 'description'].some((key) =>
    softwareNames.test(String(info[key])),
  );
}

function advice(): string {
  if (process.platform !== 'linux') return '';
  return ': it needs the Vulkan loader (libvulkan1) and the Vulkan driver of the GPU (NVIDIA: with its driver; AMD and Intel: mesa-vulkan-drivers)';
}
