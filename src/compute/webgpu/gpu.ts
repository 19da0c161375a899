import * as tf from '@tensorflow/tfjs';
import { assert, KdSpecError } from '../../core/errors.js';

/** A program for the GPU: WGSL with named tensors and numbers, which `Gpu.run` binds. */
export interface Kernel {
  readonly name: string;
  /** Each an array in WGSL; written ones are also read. */
  readonly tensors: Readonly<Record<string, 'read' | 'write' | 'read integers'>>;
  /** Each a field of `p` in WGSL. */
  readonly numbers: Readonly<Record<string, 'u32' | 'f32'>>;
  /** Threads of a workgroup, one number for each dimension; 256 by default. */
  readonly workgroup?: readonly number[];
  /** What stands at the top level: workgroup memory, functions. */
  readonly definitions?: string;
  /**
   * The body of `main`. It sees `at` (the number of the thread in all), `group` (of its workgroup), `local`,
   * `thread` (its number in the workgroup) and `groups`.
   */
  readonly body: string;
}

/** A tensor, or consecutive values of one: the start a multiple of `alignment`. */
export type Bound = tf.Tensor | Window;
export interface Window {
  readonly tensor: tf.Tensor;
  readonly start: number;
  readonly count: number;
}

/** In values. A window starts at a multiple of it. */
export const alignment = 64;

/** The kernels at work on the memory of TensorFlow.js's WebGPU backend. */
export interface Gpu {
  /** Runs a kernel: a tensor and a number for each name. */
  run(
    kernel: Kernel,
    tensors: Readonly<Record<string, Bound>>,
    numbers: Readonly<Record<string, number>>,
    /**
     * How many workgroups, maybe more than a dimension admits: they are then spread over `x` and `y`, and the last ones
     * have no work; and how often all of them, in `z`, once by default.
     */
    workgroups: readonly [number, number?],
  ): void;
  /** A new tensor with arbitrary content. */
  allocate(shape: readonly number[]): tf.Tensor;
  /** Gives a variable memory of its own, which may then be written in place, if it shares its memory. */
  own(variable: tf.Variable): void;
  /** Most values that one binding of a kernel reaches. What is larger is worked on in windows. */
  readonly bindable: number;
  /** The values of a tensor, copied to the host. */
  read(tensor: tf.Tensor): Promise<Float32Array>;
  /** The values of a tensor that has not left the host yet. */
  onHost(tensor: tf.Tensor): Float32Array | Int32Array | undefined;
  /** Throws what the GPU has reported since it was last looked at. */
  check(): void;
}

// The part of the backend, and of WebGPU, that this file stands on. The backend's declarations call most of it private.
interface Buffer {
  readonly size: number;
}
interface TensorData {
  resource: Buffer | null | undefined;
  values: Float32Array | Int32Array | null | undefined;
  readonly refCount: number;
}
interface Pass {
  setPipeline(pipeline: Pipeline): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
}
interface Pipeline {
  getBindGroupLayout(index: number): object;
}
interface Device {
  readonly limits: Readonly<Record<string, number>>;
  readonly lost: Promise<{ readonly message: string; readonly reason: string }>;
  addEventListener(type: string, listen: (event: Reported) => void): void;
  createShaderModule(description: object): object;
  createComputePipeline(description: object): Pipeline;
  createBindGroup(description: object): object;
}
interface Reported {
  readonly error: { readonly message: string };
  preventDefault?(): void;
}
interface Encoder {
  beginComputePass(description: object): Pass;
  copyBufferToBuffer(source: Buffer, from: number, target: Buffer, to: number, size: number): void;
}
interface WebgpuBackend {
  readonly device: Device;
  readonly queue: { writeBuffer(target: Buffer, at: number, source: ArrayBuffer): void };
  readonly bufferManager: { acquireBuffer(size: number, usage: number): Buffer };
  readonly tensorMap: { get(dataId: object): TensorData };
  readonly commandQueueOwnedIds: WeakSet<object>;
  readonly uniformPendingDisposal: Buffer[];
  readonly commandEncoder: Encoder;
  computePassEncoder: Pass | null;
  dispatchCountInPass: number;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  makeTensorInfo(shape: readonly number[], dtype: string): tf.TensorInfo;
  getBufferData(buffer: Buffer): Promise<ArrayBuffer>;
  uploadToGPU(dataId: object): void;
  tensorToBinding(tensor: tf.TensorInfo): object | null;
}

/** Bits of GPUBufferUsage. */
const usage = { copyTo: 8, uniform: 64 };
const threadsOfGroup = [256];

/**
 * The kernels of this folder on a backend.
 *
 * @param candidate TensorFlow.js's WebGPU backend, in the version that kd-spec was written for
 * @param options.bindable, options.workgroups at most, the latter of a dimension, for tests of what is larger; the
 *   device's limits by default
 */
export function createGpu(
  candidate: object,
  {
    bindable: most = Number.POSITIVE_INFINITY,
    workgroups = Number.POSITIVE_INFINITY,
  }: { readonly bindable?: number; readonly workgroups?: number } = {},
): Gpu {
  assert(
    isWebgpuBackend(candidate),
    "TensorFlow.js's WebGPU backend is not the one that kd-spec knows: 4.22",
  );
  const backend = candidate;
  const { device } = backend;
  const limits = limitsOf(device);
  const bindable = Math.min(most, limits.binding / 4);
  const mostGroups = Math.min(workgroups, limits.workgroups);
  const check = listen(device);
  refuseLargeTensors(backend, limits);
  const pipelines = new Map<string, Pipeline>();

  function pipelineOf(kernel: Kernel): Pipeline {
    const known = pipelines.get(kernel.name);
    if (known) return known;
    const module = device.createShaderModule({ code: sourceOf(kernel), label: kernel.name });
    const made = device.createComputePipeline({
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
      label: kernel.name,
    });
    pipelines.set(kernel.name, made);
    return made;
  }

  const run: Gpu['run'] = (kernel, tensors, numbers, groups) => {
    const pipeline = pipelineOf(kernel);
    const names = Object.entries(kernel.tensors);
    const entries = names.map(([name, access], binding) => {
      const bound = tensors[name];
      const window = 'tensor' in bound ? bound : { tensor: bound, start: 0, count: bound.size };
      const resource = bind(kernel, name, window);
      if (access === 'write') backend.tensorMap.get(window.tensor.dataId).values = null; // a copy on the host is old
      return { binding, resource };
    });
    const uniform = writeNumbers(kernel, numbers);
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [...entries, { binding: names.length, resource: { buffer: uniform } }],
    });
    backend.ensureCommandEncoderReady();
    backend.computePassEncoder ??= backend.commandEncoder.beginComputePass({});
    const pass = backend.computePassEncoder;
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...spread(groups, mostGroups));
    backend.dispatchCountInPass++;
    if (backend.dispatchCountInPass >= tf.env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE')) submit();
  };

  function bind(kernel: Kernel, name: string, { tensor, start, count }: Window): object {
    assert(
      count > 0 && start % alignment === 0 && start + count <= tensor.size,
      `${kernel.name}: values ${start} to ${start + count} of ${name}, which has ${tensor.size}`,
    );
    if (count > bindable) refuse(4 * count, 4 * bindable, 'lets a kernel reach');
    backend.uploadToGPU(tensor.dataId);
    backend.commandQueueOwnedIds.add(tensor.dataId);
    const { resource } = backend.tensorMap.get(tensor.dataId);
    assert(resource !== null && resource !== undefined, `${kernel.name}: ${name} is not on the GPU`);
    return { buffer: resource, offset: 4 * start, size: 4 * count };
  }

  function writeNumbers(kernel: Kernel, numbers: Readonly<Record<string, number>>): Buffer {
    const fields = Object.entries(kernel.numbers);
    const view = new DataView(new ArrayBuffer(16 * Math.ceil((fields.length + 1) / 4)));
    for (const [index, [name, type]] of fields.entries()) {
      const value = numbers[name];
      assert(value !== undefined, `kernel ${kernel.name} needs ${name}`);
      if (type === 'u32') view.setUint32(4 * index, value, true);
      else view.setFloat32(4 * index, value, true);
    }
    const { buffer } = view;
    const uniform = backend.bufferManager.acquireBuffer(buffer.byteLength, usage.copyTo | usage.uniform);
    backend.queue.writeBuffer(uniform, 0, buffer);
    backend.uniformPendingDisposal.push(uniform);
    return uniform;
  }

  function submit(): void {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }

  const allocate = (shape: readonly number[]) =>
    tf.engine().makeTensorFromTensorInfo(backend.makeTensorInfo(shape, 'float32'));

  function own(variable: tf.Variable): void {
    if (backend.tensorMap.get(variable.dataId).refCount === 1) return;
    const copy = allocate(variable.shape);
    for (const { dataId } of [variable, copy]) {
      backend.uploadToGPU(dataId);
      backend.commandQueueOwnedIds.add(dataId);
    }
    const [source, target] = [variable, copy].map(({ dataId }) => backend.tensorMap.get(dataId).resource);
    assert(
      source !== null && source !== undefined && target !== null && target !== undefined,
      'a copy on the GPU',
    );
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.commandEncoder.copyBufferToBuffer(source, 0, target, 0, 4 * variable.size);
    variable.assign(copy);
    copy.dispose();
  }

  function onHost(tensor: tf.Tensor): Float32Array | Int32Array | undefined {
    return backend.tensorMap.get(tensor.dataId).values ?? undefined;
  }

  async function read(tensor: tf.Tensor): Promise<Float32Array> {
    const values = onHost(tensor);
    if (values) return Float32Array.from(values);
    const { resource } = backend.tensorMap.get(tensor.dataId);
    assert(resource !== null && resource !== undefined, 'a tensor without values was read');
    const bytes = await backend.getBufferData(resource); // a copy, of this call alone
    check();
    return new Float32Array(bytes, 0, tensor.size);
  }

  return { run, allocate, own, bindable, read, onHost, check };
}

function limitsOf({ limits }: Device) {
  return {
    binding: limits.maxStorageBufferBindingSize - (limits.maxStorageBufferBindingSize % (4 * alignment)),
    buffer: limits.maxBufferSize,
    workgroups: limits.maxComputeWorkgroupsPerDimension,
  };
}

/** Gathers what the device reports outside of any call; WebGPU itself goes on with zeros. */
function listen(device: Device): () => void {
  let failure: string | undefined;
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault?.();
    failure ??= event.error.message.split('\n', 1)[0];
  });
  void device.lost.then(({ message, reason }) => {
    if (reason !== 'destroyed') failure ??= `the GPU was lost: ${message}`;
  });
  return () => {
    if (failure === undefined) return;
    const message = failure;
    failure = undefined;
    throw new KdSpecError(
      'backend-failed',
      `webgpu: the GPU reported an error, and what was computed since is not right: ${message}. ` +
        'Try a smaller batch (less memory), a newer driver, or --backend wasm',
    );
  };
}

/**
 * Has TensorFlow.js's own kernels refuse tensors that the device cannot bind or hold: they would compute with zeros.
 */
function refuseLargeTensors(
  backend: WebgpuBackend,
  { binding, buffer }: { readonly binding: number; readonly buffer: number },
): void {
  const bindTensor = backend.tensorToBinding.bind(backend);
  const upload = backend.uploadToGPU.bind(backend);
  const bytesOf = (dataId: object) => backend.tensorMap.get(dataId).resource?.size ?? 0;
  backend.tensorToBinding = (tensor) => {
    const bytes = bytesOf(tensor.dataId);
    if (bytes > binding) refuse(bytes, binding, 'lets a kernel of TensorFlow.js reach');
    return bindTensor(tensor);
  };
  backend.uploadToGPU = (dataId) => {
    const { resource, values, shape } = backend.tensorMap.get(dataId) as TensorData & {
      readonly shape: number[];
    };
    const bytes = 4 * (values?.length ?? tf.util.sizeFromShape(shape));
    if (!resource && bytes > buffer) refuse(bytes, buffer, 'holds in one piece');
    upload(dataId);
  };
}

function refuse(bytes: number, most: number, what: string): never {
  const mebibytes = (count: number) => `${Math.ceil(count / 2 ** 20).toLocaleString('en')} MiB`;
  throw new KdSpecError(
    'backend-failed',
    `webgpu: a tensor takes ${mebibytes(bytes)}, and this GPU ${what} at most ${mebibytes(most)}: ` +
      'take a smaller batch or network, --sampled-head, or --backend wasm',
  );
}

/** Workgroups in three dimensions, none above the limit: a long row is folded, and its last groups have no work. */
function spread([count, times = 1]: readonly [number, number?], most: number): [number, number, number] {
  const rows = Math.ceil(count / most);
  assert(Math.max(rows, times) <= most, `workgroups ${count} x ${times}, of which a dimension takes ${most}`);
  return [Math.ceil(count / rows), rows, times];
}

function sourceOf({ tensors, numbers, workgroup = threadsOfGroup, definitions = '', body }: Kernel): string {
  const names = Object.entries(tensors);
  const bindings = names.map(([name, access], index) => {
    const mode = access === 'write' ? 'read_write' : 'read';
    const type = access === 'read integers' ? 'i32' : 'f32';
    return `@group(0) @binding(${index}) var<storage, ${mode}> ${name}: array<${type}>;`;
  });
  const fields = Object.entries(numbers).map(([name, type]) => `${name}: ${type},`);
  const threads = workgroup.reduce((product, extent) => product * extent, 1);
  return `
${bindings.join('\n')}
struct Numbers { ${fields.join(' ')} unused: u32 };
@group(0) @binding(${names.length}) var<uniform> p: Numbers;
${definitions}
@compute @workgroup_size(${workgroup.join(', ')})
fn main(
  @builtin(workgroup_id) workgroupId: vec3u, @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) thread: u32, @builtin(num_workgroups) groups: vec3u
) {
  let group = workgroupId;
  let at = (group.y * groups.x + group.x) * ${threads}u + thread;
  ${body}
}`;
}

const members = [
  ...['ensureCommandEncoderReady', 'endComputePassEncoder', 'submitQueue', 'makeTensorInfo'],
  ...['getBufferData', 'uploadToGPU', 'tensorToBinding'],
];

function isWebgpuBackend(backend: object): backend is WebgpuBackend {
  return (
    ['device', 'queue', 'bufferManager', 'tensorMap', 'commandQueueOwnedIds'].every(
      (name) => name in backend,
    ) && members.every((name) => typeof Reflect.get(backend, name) === 'function')
  );
}
