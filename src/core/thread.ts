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

/** What a thread is asked for: a {@link ThreadTask} by name. */
export interface ThreadRequest {
  readonly module: string;
  readonly name: string;
  readonly parameters: unknown;
}

/** How a task ends. */
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
  task: ThreadTask<Arguments, Result>,
  parameters: Arguments,
  options: { readonly signal: AbortSignal; readonly doing: string },
): Promise<Result> {
  const [result] = await runInThreads(task, [parameters], { threads: 1, ...options });
  return result;
}

/**
 * Runs a task for each of some parameters, several at once. A thread takes one after the other: what the first loads,
 * such as a backend, is there for the next. The first failure ends all.
 *
 * @param options.threads at once
 * @param options.each receives each result as it comes
 * @returns the results, in the order of the parameters
 * @throws KdSpecError `interrupted` after the signal aborted, and what a task or `each` throws
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
    if (stop.aborted) throw interrupted(doing);
    await using thread = hasThreads() ? startThread<Result>(stop, doing) : undefined;
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [place, parameters] = next;
      if (stop.aborted) throw interrupted(doing);
      const { module, name, run } = task;
      const result = await (thread ? thread.run({ module, name, parameters }) : run(parameters));
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

const interrupted = (doing: string) => new KdSpecError('interrupted', `${doing}: stopped`);

/** Starts a thread that runs one task at a time, until it is disposed of. The signal fails the task that it runs. */
function startThread<Result>(signal: AbortSignal, doing: string) {
  const worker = new Worker(program, { execArgv: [] });
  let settle: { resolve(result: Result): void; reject(error: Error): void } | undefined;
  let ended: Error | undefined;
  const end = (error: Error) => {
    ended ??= error;
    settle?.reject(ended);
  };
  const onAbort = () => end(interrupted(doing));
  worker.on('message', (message: FromThread<Result>) => {
    if (message.kind === 'done') settle?.resolve(message.result);
    else settle?.reject(fromThreadError(message));
  });
  worker.on('error', end);
  worker.on('exit', (code) => end(new Error(`a thread (${doing}) ended with ${code}`)));
  signal.addEventListener('abort', onAbort);
  return {
    run(request: ThreadRequest): Promise<Result> {
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        if (ended) reject(ended);
        else worker.postMessage(request);
      });
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', onAbort);
      await worker.terminate();
    },
  };
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
