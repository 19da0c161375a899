import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { assert } from '../core/errors.js';
import { isBuilt } from '../core/thread.js';

/** Does its work for the rows from `start` to before `end`. */
export type RowWork = (start: number, end: number) => void;

/**
 * Work on rows that do not depend on each other, as a module exports it.
 *
 * Arguments reach another thread as a copy, except typed arrays over a `SharedArrayBuffer`, which are the same
 * memory in all: what the work reads a lot of and all that it writes belongs there ({@link sharedArray}).
 */
export interface RowKernel<Arguments> {
  /** `import.meta.url` of the module. */
  readonly module: string;
  /** The name under which it exports `create`. */
  readonly name: string;
  /** Called once in each thread, for whatever scratch memory the work needs. */
  readonly create: (work: Arguments) => RowWork;
}

/** What a thread is told. */
export interface RowMessage {
  readonly module: string;
  readonly name: string;
  readonly work: unknown;
  readonly rows: number;
  readonly chunkRows: number;
  readonly control: Int32Array;
}

/** Threads that share work on rows; see {@link createRowThreads}. */
export interface RowThreads {
  /** Returns when the kernel has done all rows; which thread did which makes no difference to the result. */
  run<Arguments>(kernel: RowKernel<Arguments>, work: Arguments, rows: number): void;
  dispose(): void;
}

/** Places in the control block. */
const next = 0; // the first row that nobody took
const done = 1; // rows that are finished
const failed = 2;
const controlWords = 3;

const workerProgram = new URL('./row-worker.js', import.meta.url);
const entriesWorthAThread = 2 ** 21; // below, starting one costs more than it saves

/** The number of threads that pays for a matrix of so many entries on this machine. */
export function threadsFor(entries: number): number {
  return entries < entriesWorthAThread ? 1 : availableParallelism();
}

/**
 * Starts threads that share work on rows with the calling one.
 *
 * The rows are cut into chunks, and a free thread takes the next. The caller works too and waits only for chunks
 * that others have begun: a thread that is late, or never starts, costs time and nothing else.
 *
 * @param threads how many, the calling one included; with 1, or when the program is not built, it works alone
 */
export function createRowThreads(threads: number): RowThreads {
  const helpers = threads > 1 && isBuilt(workerProgram) ? threads - 1 : 0;
  const workers = Array.from({ length: helpers }, () => {
    const worker = new Worker(workerProgram, { execArgv: [] });
    worker.on('error', () => {}); // one that cannot start leaves its share to the others
    worker.unref();
    return worker;
  });
  return {
    run({ module, name, create }, work, rows) {
      const chunkRows = helpers === 0 ? rows : Math.max(64, Math.ceil(rows / (threads * 16)));
      const control = sharedArray(Int32Array, controlWords);
      const message: RowMessage = { module, name, work, rows, chunkRows, control };
      for (const worker of workers) worker.postMessage(message);
      takeChunks(create(work), message);
      for (let count = finished(control); count < rows; count = finished(control)) {
        Atomics.wait(control, done, count);
      }
    },
    dispose() {
      for (const worker of workers) void worker.terminate();
    },
  };
}

/** Works on chunks of rows until none is left. */
export function takeChunks(
  work: RowWork,
  { rows, chunkRows, control }: Pick<RowMessage, 'rows' | 'chunkRows' | 'control'>,
): void {
  for (;;) {
    const start = Atomics.add(control, next, chunkRows);
    if (start >= rows || start < 0) return;
    const end = Math.min(rows, start + chunkRows);
    try {
      work(start, end);
    } catch (error) {
      Atomics.store(control, failed, 1);
      throw error;
    } finally {
      Atomics.add(control, done, end - start);
      Atomics.notify(control, done);
    }
  }
}

function finished(control: Int32Array): number {
  assert(Atomics.load(control, failed) === 0, 'a thread failed');
  return Atomics.load(control, done);
}

type NumberArray = Int32Array | Float32Array | Float64Array;

/** Zeros in memory that all threads see. */
export function sharedArray<T extends NumberArray>(
  type: { new (buffer: SharedArrayBuffer): T; readonly BYTES_PER_ELEMENT: number },
  length: number,
): T {
  return new type(new SharedArrayBuffer(length * type.BYTES_PER_ELEMENT));
}

/** The array itself when all threads see it, else a copy that they do. */
export function toShared<T extends NumberArray>(array: T): T {
  if (array.buffer instanceof SharedArrayBuffer) return array;
  const type = array.constructor as {
    new (buffer: SharedArrayBuffer): T;
    readonly BYTES_PER_ELEMENT: number;
  };
  const copy = sharedArray(type, array.length);
  copy.set(array);
  return copy;
}
