import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { assert, KdSpecError } from '../../core/errors.js';
import { type KeptThread, keepThread } from '../../core/kept-thread.js';
import { installCommand } from '../../core/package.js';
import { isBuilt } from '../../core/thread.js';
import { halfToNumber } from '../../math/half.js';
import { invalid } from './model-file.js';

/** The types of numbers that a foreign model's image input may have. */
export type InputType = 'float32' | 'float16' | 'float64' | 'uint8';

/** Numbers on their way into a model. */
export interface InputTensor {
  readonly type: InputType;
  /** float16 as its bits. */
  readonly data: Float32Array | Float64Array | Uint16Array | Uint8Array;
  readonly shape: readonly number[];
}

/** Numbers that a model returned. */
export interface OutputTensor {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** An ONNX model that runs. */
export interface OnnxSession {
  /** Runs that go on at the same time, if each has a lane of its own: 1 and more, and more once there is much to do. */
  readonly lanes: number;
  /**
   * @param feeds by the names of the model's inputs
   * @param outputs the names of those that are wanted
   * @param lane where it runs, from 0, beside others; none: alone
   * @throws KdSpecError `checkpoint-invalid` with what the runtime said
   */
  run(
    feeds: Readonly<Record<string, InputTensor>>,
    outputs: readonly string[],
    lane?: number,
  ): Promise<ReadonlyMap<string, OutputTensor>>;
  dispose(): void;
}

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

/** A request to a thread of sessions in WebAssembly. */
export type SessionRequest =
  | { readonly kind: 'open'; readonly model: Uint8Array; readonly name: string }
  | {
      readonly kind: 'run';
      /** What `open` returned. */
      readonly session: number;
      readonly feeds: Readonly<Record<string, InputTensor>>;
      readonly outputs: readonly string[];
    }
  | { readonly kind: 'dispose'; readonly session: number };
/** The number of the session that was opened, or what it returned. */
export type SessionReply = number | ReadonlyMap<string, OutputTensor> | undefined;

const program = new URL('./session-thread-program.js', import.meta.url);

/** A thread of sessions in WebAssembly. */
interface SessionThread {
  readonly kept: Promise<KeptThread<undefined, SessionRequest, SessionReply>>;
  /** Sessions that are open in it. */
  sessions: number;
}

/** The threads of all sessions in WebAssembly of this process, by number: each loads and compiles ONNX Runtime once. */
const threads = new Map<number, SessionThread>();

/** Threads within one run: what ONNX Runtime takes by itself. */
const threadsOfRun = Math.min(4, Math.ceil(availableParallelism() / 2));

/** @param number 0 for the thread in which a model runs alone; the others have one for each run */
function threadOf(number: number): SessionThread {
  const known = threads.get(number);
  if (known) return known;
  const forget = () => threads.delete(number); // the next session tries again
  const kept = keepThread<undefined, SessionRequest, SessionReply>(
    program,
    { threads: number === 0 ? threadsOfRun : 1 },
    { name: 'the thread of ONNX Runtime', onEnd: forget },
  );
  kept.catch(forget);
  const thread = { kept, sessions: 0 };
  threads.set(number, thread);
  return thread;
}

const mostLanes = 8; // each holds the model and what it computes
const mostBytes = 2 ** 29; // of a model, in all lanes together
const enoughMs = 1000; // that a model runs before it gets lanes: each costs half a second to open

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
  if (isNative || typeof model === 'string' || !isMainThread || !isBuilt(program))
    return openSessionHere(model, options);
  return openInLanes(model, options.name);
}

/** A model that is open in a thread. */
interface OpenedInThread {
  /** @throws KdSpecError `checkpoint-invalid`; Error where the thread ended */
  run(
    feeds: Readonly<Record<string, InputTensor>>,
    outputs: readonly string[],
  ): Promise<ReadonlyMap<string, OutputTensor>>;
  dispose(): void;
}

/** Opens a model in a thread, which ends with its last session unless it is the first one. */
async function openInThread(number: number, model: Uint8Array, name: string): Promise<OpenedInThread> {
  const thread = threadOf(number);
  thread.sessions++;
  const leave = () => {
    thread.sessions--;
    if (number === 0 || thread.sessions > 0) return;
    if (threads.get(number) === thread) threads.delete(number);
    void thread.kept.then((kept) => kept.close()).catch(() => {}); // a thread that has ended needs no end
  };
  try {
    const { request } = await thread.kept;
    const session = await request({ kind: 'open', model, name });
    assert(typeof session === 'number', 'a session without a number');
    return {
      async run(feeds, outputs) {
        // Without the rest of the array that they are a part of; the caller keeps its own.
        const own = Object.entries(feeds).map(
          ([input, tensor]) => [input, { ...tensor, data: tensor.data.slice() }] as const,
        );
        const arrays = own.map(([, { data }]) => data.buffer);
        const results = await request(
          { kind: 'run', session, feeds: Object.fromEntries(own), outputs },
          arrays,
        );
        assert(results instanceof Map, 'a session that returned nothing');
        return results;
      },
      dispose() {
        void request({ kind: 'dispose', session }).catch(() => {}); // a thread that has ended has none
        leave();
      },
    };
  } catch (error) {
    leave();
    throw error;
  }
}

/**
 * A model in WebAssembly, which is open in a thread for each processor once it has much to do: two threads for one run
 * gain a tenth where two runs at a time gain all (PP-OCRv6, two cores). Where another thread does not open the model, or
 * ends while it runs, for lack of memory for instance, the first does its work.
 */
async function openInLanes(model: Uint8Array, name: string): Promise<OnnxSession> {
  const most = Math.min(availableParallelism(), mostLanes, Math.floor(mostBytes / model.length));
  const withName = (cause: unknown) => {
    if (cause instanceof KdSpecError) throw cause;
    throw invalid(name, `ONNX Runtime ended while it had the model (${firstLine(cause)})`, cause); // out of memory
  };
  const first = await openInThread(0, model, name).catch(withName);
  const source = most > 1 ? model : undefined; // for other threads
  const firstOfLanes = threadsOfRun > 1 ? 1 : 0; // a run alone has several threads, a lane has one
  const lanes = new Map<number, Promise<OpenedInThread | undefined>>();
  let busyMs = 0; // alone
  const inLane = (lane: number): Promise<OpenedInThread | undefined> => {
    const number = lane + firstOfLanes;
    const known = lanes.get(number);
    if (known) return known;
    const opened =
      number === 0 || source === undefined
        ? Promise.resolve(first)
        : openInThread(number, source, name).catch(() => undefined);
    lanes.set(number, opened);
    return opened;
  };
  return {
    get lanes() {
      return busyMs < enoughMs ? 1 : Math.max(1, most);
    },
    async run(feeds, outputs, lane) {
      const opened = lane === undefined ? undefined : await inLane(lane);
      if (lane !== undefined && opened !== undefined && opened !== first) {
        try {
          return await opened.run(feeds, outputs);
        } catch (error) {
          if (error instanceof KdSpecError) throw error;
          lanes.set(lane + firstOfLanes, Promise.resolve(undefined)); // its thread ended
        }
      }
      const start = performance.now();
      const results = await first.run(feeds, outputs).catch(withName);
      busyMs += performance.now() - start;
      return results;
    },
    dispose() {
      first.dispose();
      for (const lane of lanes.values()) void lane.then((opened) => opened !== first && opened?.dispose());
    },
  };
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

/** What went wrong, on one line and without what the runtime puts before it. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.split('\n')[0];
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}
