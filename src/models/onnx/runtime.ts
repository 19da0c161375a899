import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { installCommand } from '../../core/package.js';
import { halfToNumber } from '../../math/half.js';
import { invalid } from './model-file.js';
import { firstLine, type OnnxSession, type OutputTensor } from './session.js';
import { hasLanes, openInLanes } from './session-lanes.js';

/** The part of ONNX Runtime that is used here, which its native and its WebAssembly package have in common. */
interface Runtime {
  readonly InferenceSession: {
    create(model: Uint8Array | string, options: object): Promise<RuntimeSession>;
  };
  readonly Tensor: new (type: string, data: unknown, shape: readonly number[]) => RuntimeTensor;
}
interface RuntimeSession {
  run(
    feeds: Readonly<Record<string, RuntimeTensor>>,
    outputs: readonly string[],
  ): Promise<Readonly<Record<string, RuntimeTensor>>>;
  release(): Promise<void>;
}
interface RuntimeTensor {
  readonly type: string;
  readonly data: unknown;
  readonly dims: readonly number[];
}

const require = createRequire(import.meta.url);

/** Which ONNX Runtime: `auto` is the native one where it is installed, `wasm` the one in WebAssembly. */
export type RuntimeName = 'auto' | 'wasm';

/**
 * Opens a model in ONNX Runtime: the native one where onnxruntime-node is installed, several times as fast, else the one
 * in WebAssembly, which is always there.
 *
 * Opening a model takes seconds and so does a batch, without a turn of the event loop. So the runtime in WebAssembly has a
 * thread of its own, and signals and the next images are read meanwhile. The native one, whose addon ends the process when
 * its thread is ended, stays in this thread; so does what is opened in a thread already.
 *
 * @param model a whole model, without external data; or the path of one over 2 GB, which the native runtime alone runs
 * @param options.name what the model is called in errors
 * @throws KdSpecError `checkpoint-invalid` when the runtime refuses the model
 */
export async function openSession(
  model: Uint8Array | string,
  options: { readonly name: string; readonly runtime?: RuntimeName | undefined },
): Promise<OnnxSession> {
  const isNative = options.runtime !== 'wasm' && nativeRuntime() !== undefined;
  if (typeof model === 'string') expectNative(options.name, options.runtime);
  if (isNative || typeof model === 'string' || !isMainThread || !hasLanes())
    return openSessionHere(model, options);
  return openInLanes(model, options.name);
}

/** @throws KdSpecError `checkpoint-invalid` where a model over 2 GB cannot be run */
export function expectNative(name: string, runtime: RuntimeName = 'auto'): void {
  const advice = runtime === 'wasm' ? 'leave out --runtime wasm' : describeRuntime().install;
  if (runtime !== 'wasm' && nativeRuntime() !== undefined) return;
  throw invalid(name, `it has over 2 GB, which only the native ONNX Runtime runs: ${advice}`);
}

/** Opens a model in this thread: see {@link openSession}. */
export async function openSessionHere(
  model: Uint8Array | string,
  { name, runtime = 'auto' }: { readonly name: string; readonly runtime?: RuntimeName | undefined },
): Promise<OnnxSession> {
  const { InferenceSession, Tensor } = await loadRuntime(runtime);
  const options = {
    logSeverityLevel: 3, // errors alone: warnings of a foreign model help nobody
    extra: { session: { intra_op: { allow_spinning: '0' } } }, // threads that wait take the processor from those that work
  };
  const session = await InferenceSession.create(model, options).catch((cause: unknown) => {
    throw invalid(name, `ONNX Runtime refuses the model (${firstLine(cause)})`, cause);
  });
  return {
    lanes: 1, // the native runtime divides a run among the processors itself
    async run(feeds, outputs) {
      const tensors = Object.entries(feeds).map(
        ([input, { type, data, shape }]) => [input, new Tensor(type, data, shape)] as const,
      );
      const results = await session.run(Object.fromEntries(tensors), outputs).catch((cause: unknown) => {
        throw invalid(name, `ONNX Runtime cannot run the model (${firstLine(cause)})`, cause);
      });
      return new Map(outputs.map((output) => [output, toOutput(name, output, results[output])]));
    },
    dispose() {
      void session.release().catch(() => {});
    },
  };
}

function toOutput(name: string, output: string, tensor: RuntimeTensor | undefined): OutputTensor {
  const { data, type, dims } = tensor ?? {};
  if (dims !== undefined) {
    if (data instanceof Float32Array) return { values: data, shape: dims };
    if (data instanceof Float64Array) return { values: Float32Array.from(data), shape: dims };
    if (type === 'float16' && data instanceof Uint16Array)
      return { values: Float32Array.from(data, halfToNumber), shape: dims };
    if (type === 'float16' && ArrayBuffer.isView(data))
      return { values: Float32Array.from(iterate(data)), shape: dims };
  }
  throw invalid(name, `expected numbers in "${output}", got ${type ?? 'nothing'}`);
}

/** Where the engine has a Float16Array, float16 comes as one. */
function iterate(view: ArrayBufferView): Iterable<number> {
  return Symbol.iterator in view ? (view as ArrayBufferView & Iterable<number>) : [];
}

/** Which ONNX Runtime `auto` takes here, and what to type for the native one. */
export function describeRuntime(): { readonly isNative: boolean; readonly install: string } {
  // Its script fetches libraries for CUDA from another site than npm's, which many machines do not reach; what a processor
  // needs lies in the package.
  const install = installCommand(['--ignore-scripts', 'onnxruntime-node']);
  return { isNative: nativeRuntime() !== undefined, install };
}

/** The native runtime, or undefined where it is not installed or does not load. */
function nativeRuntime(): Runtime | undefined {
  try {
    return require('onnxruntime-node');
  } catch {
    return undefined;
  }
}

async function loadRuntime(name: RuntimeName): Promise<Runtime> {
  const native = name === 'auto' ? nativeRuntime() : undefined;
  if (native) return native;
  const { InferenceSession, Tensor } = await import('onnxruntime-web');
  return { InferenceSession, Tensor } as Runtime;
}
