import { availableParallelism } from 'node:os';
import { assert, KdSpecError } from '../../core/errors.js';
import { type KeptThread, keepThread } from '../../core/kept-thread.js';
import { isBuilt } from '../../core/thread.js';
import { invalid } from './model-file.js';
import { firstLine, type InputTensor, type OnnxSession, type OutputTensor } from './session.js';

// ONNX Runtime in WebAssembly has threads of its own here: one in which a model runs alone, and more in which a model that
// has much to do runs several times at once.

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

/** Whether there is a program for them: a thread cannot load TypeScript. */
export const hasLanes = () => isBuilt(program);

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
export async function openInLanes(model: Uint8Array, name: string): Promise<OnnxSession> {
  const most = Math.min(availableParallelism(), mostLanes, Math.floor(mostBytes / model.length));
  const withName = (cause: unknown) => {
    if (cause instanceof KdSpecError) throw cause;
    throw invalid(name, `ONNX Runtime ended while it had the model (${firstLine(cause)})`, cause); // out of memory
  };
  const first = await openInThread(0, model, name).catch(withName);
  const source = most > 1 ? model : undefined; // for other threads
  const firstOfLanes = threadsOfRun > 1 ? 1 : 0; // a run alone has several threads, a lane has one
  const lanes = new Map<number, Promise<OpenedInThread>>();
  let busyMs = 0; // of the first
  const openLane = async (lane: number) => {
    const number = lane + firstOfLanes;
    if (number === 0 || source === undefined) return first;
    return openInThread(number, source, name).catch(() => first);
  };
  const inLane = (lane: number) => {
    const opened = lanes.get(lane) ?? openLane(lane);
    lanes.set(lane, opened);
    return opened;
  };
  return {
    get lanes() {
      return busyMs < enoughMs ? 1 : Math.max(1, most);
    },
    async run(feeds, outputs, lane) {
      const opened = lane === undefined ? first : await inLane(lane);
      if (lane !== undefined && opened !== first) {
        try {
          return await opened.run(feeds, outputs);
        } catch (error) {
          if (error instanceof KdSpecError) throw error;
          lanes.set(lane, Promise.resolve(first)); // its thread ended
        }
      }
      const start = performance.now();
      const results = await first.run(feeds, outputs).catch(withName);
      busyMs += performance.now() - start;
      return results;
    },
    dispose() {
      first.dispose();
      for (const lane of lanes.values()) void lane.then((opened) => opened !== first && opened.dispose());
    },
  };
}
