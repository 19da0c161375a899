import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, KdSpecError } from './errors.js';

/**
 * A long computation, as a module exports it.
 *
 * Arguments and result are copied, except typed arrays over a `SharedArrayBuffer`, which are the same memory.
 */
export interface ThreadTask<Arguments, Result> {
  /** `import.meta.url` of the module. */
  readonly module: string;
  /** The name under which it exports the task. */
  readonly name: string;
  readonly run: (parameters: Arguments) => Result | Promise<Result>;
}

/** What a thread is started with: a {@link ThreadTask} by name. */
export interface ThreadData {
  readonly module: string;
  readonly name: string;
  readonly parameters: unknown;
}

/** How a thread ends. */
export type FromThread<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  | ({ readonly kind: 'failed' } & ThreadError);

/** An error as one thread sends it to another. */
export interface ThreadError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly stack: string | undefined;
}

const program = new URL('./thread-program.js', import.meta.url);

/** Whether the program of a thread is built: a worker cannot load TypeScript. */
export const isBuilt = (file: URL): boolean => existsSync(fileURLToPath(file));

/** Whether {@link runInThread} starts a thread, rather than running the task here. */
export const hasThreads = (): boolean => isBuilt(program);

/**
 * Runs a task in a thread of its own, so that signals and timers reach this one meanwhile.
 *
 * Where the program is not built (a worker cannot load TypeScript), the task runs here.
 *
 * @param options.signal ends the thread at once
 * @param options.doing what is interrupted, for a person
 * @throws KdSpecError `interrupted` after the signal aborted, and what the task throws
 * Cost: about 30 ms to start the thread.
 */
export async function runInThread<Arguments, Result>(
  { module, name, run }: ThreadTask<Arguments, Result>,
  parameters: Arguments,
  { signal, doing }: { readonly signal: AbortSignal; readonly doing: string },
): Promise<Result> {
  const interrupted = () => new KdSpecError('interrupted', `${doing}: stopped`);
  if (signal.aborted) throw interrupted();
  if (!hasThreads()) return run(parameters);
  const workerData: ThreadData = { module, name, parameters };
  const worker = new Worker(program, { workerData, execArgv: [] });
  const stop = new AbortController();
  try {
    return await new Promise<Result>((resolve, reject) => {
      worker.on('message', (message: FromThread<Result>) => {
        if (message.kind === 'done') resolve(message.result);
        else reject(fromThreadError(message));
      });
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`a thread (${doing}) ended with ${code}`)));
      signal.addEventListener('abort', () => reject(interrupted()), { signal: stop.signal });
    });
  } finally {
    stop.abort();
    await worker.terminate();
  }
}

/**
 * Runs a task for each of some parameters, several at once, each in a thread of its own. The first failure ends all.
 *
 * @param options.threads at once
 * @param options.each receives each result as it comes
 * @returns the results, in the order of the parameters
 */
export async function runInThreads<Arguments, Result>(
  task: ThreadTask<Arguments, Result>,
  all: readonly Arguments[],
  {
    threads,
    signal,
    doing,
    each,
  }: {
    readonly threads: number;
    readonly signal: AbortSignal | undefined;
    readonly doing: string;
    readonly each?: (result: Result) => void | Promise<void>;
  },
): Promise<readonly Result[]> {
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
  const waiting = [...all.entries()];
  const results: Result[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [place, parameters] = next;
      const result = await runInThread(task, parameters, { signal: stop, doing });
      results[place] = result;
      await each?.(result);
    }
  };
  const lanes = Array.from({ length: Math.min(threads, all.length) }, async () => {
    try {
      await work();
    } catch (error) {
      failed.abort(error); // the first one stays the reason
    }
  });
  await Promise.all(lanes);
  if (failed.signal.aborted) throw failed.signal.reason;
  return results;
}

/** What a thread sends of an error. */
export function toThreadError(error: unknown): ThreadError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { code: error instanceof KdSpecError ? error.code : undefined, message, stack };
}

/** The error that a thread sent. */
export function fromThreadError({ code, message, stack }: ThreadError): Error {
  const error = code === undefined ? new Error(message) : new KdSpecError(code, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
