import { parentPort, Worker, workerData } from 'node:worker_threads';
import { assert } from './errors.js';
import { fromThreadError, type ThreadError, toThreadError } from './thread.js';

// A thread that is kept holds something that cannot be sent, such as a model, and answers requests one after the other,
// while this thread goes on. Both ends of what they send one another stand here.

/** What a reply is, and the arrays in it that the other side shall have without a copy. */
export interface Reply<Value> {
  readonly value: Value;
  readonly transferred?: readonly ArrayBuffer[];
}

/** A thread that is kept. */
export interface KeptThread<Opened, Request, Value> {
  /** What the thread said of what it opened. */
  readonly opened: Opened;
  /**
   * @param transferred arrays of the request that the thread shall have without a copy
   * @throws what the thread threw, or that it ended
   */
  request(request: Request, transferred?: readonly ArrayBuffer[]): Promise<Value>;
  /** Ends the thread after the requests that it has. */
  close(): void;
}

type ToThread<Request> =
  | { readonly kind: 'request'; readonly id: number; readonly request: Request }
  | { readonly kind: 'close' };
type FromThread<Opened, Value> =
  | { readonly kind: 'opened'; readonly opened: Opened }
  | ({ readonly kind: 'not-opened' } & ThreadError)
  | { readonly kind: 'replied'; readonly id: number; readonly value: Value }
  | ({ readonly kind: 'failed'; readonly id: number } & ThreadError);

/**
 * Starts a thread that is kept. It holds up the end of the process only while it works on a request.
 *
 * @param program calls {@link serveRequests}
 * @param data what the program opens
 * @param options.name of the thread, for errors
 * @param options.onEnd told if the thread ends by itself, for lack of memory for instance; every later request fails
 * @throws what the program threw when it opened
 */
export async function keepThread<Opened, Request, Value>(
  program: URL,
  data: unknown,
  { name, onEnd = () => {} }: { readonly name: string; readonly onEnd?: (error: Error) => void },
): Promise<KeptThread<Opened, Request, Value>> {
  const worker = new Worker(program, { workerData: data, execArgv: [] });
  const waiting = new Map<number, { resolve(value: Value): void; reject(error: Error): void }>();
  let ended: Error | undefined;
  let isClosed = false;
  let lastId = 0;
  const tell = (message: ToThread<Request>, transferred: readonly ArrayBuffer[] = []) =>
    worker.postMessage(message, [...transferred]);

  const opened = await new Promise<Opened>((resolve, reject) => {
    const end = (error: Error) => {
      if (ended !== undefined) return;
      ended = error;
      reject(error);
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
    };
    worker.on('error', end);
    worker.on('exit', (code) => end(new Error(`${name} ended with ${code}`)));
    worker.on('message', (message: FromThread<Opened, Value>) => {
      if (message.kind === 'opened') resolve(message.opened);
      else if (message.kind === 'not-opened') end(fromThreadError(message));
      else {
        const request = waiting.get(message.id);
        waiting.delete(message.id);
        if (waiting.size === 0) worker.unref();
        if (message.kind === 'replied') request?.resolve(message.value);
        else request?.reject(fromThreadError(message));
      }
    });
  });
  worker.on('exit', () => {
    if (!isClosed && ended !== undefined) onEnd(ended);
  });
  worker.unref();

  return {
    opened,
    request: (request, transferred) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) {
          reject(ended);
          return;
        }
        const id = ++lastId;
        waiting.set(id, { resolve, reject });
        worker.ref();
        tell({ kind: 'request', id, request }, transferred);
      }),
    close() {
      isClosed = true;
      tell({ kind: 'close' });
    },
  };
}

/** What the program of a thread has opened. */
export interface Served<Opened, Request, Value> {
  readonly opened: Opened;
  reply(request: Request): Promise<Reply<Value>>;
  dispose(): void;
}

/**
 * The whole program of a thread that is kept: opens something, and replies to requests, one after the other, until it
 * is closed.
 *
 * @param open gets the data that the thread was started with
 */
export async function serveRequests<Data, Opened, Request, Value>(
  open: (data: Data) => Promise<Served<Opened, Request, Value>>,
): Promise<void> {
  assert(parentPort !== null, 'the program of a thread, started otherwise');
  const port = parentPort;
  const tell = (message: FromThread<Opened, Value>, transferred: readonly ArrayBuffer[] = []) =>
    port.postMessage(message, [...transferred]);
  try {
    const { opened, reply, dispose } = await open(workerData as Data);
    let last = Promise.resolve();
    port.on('message', (message: ToThread<Request>) => {
      last = last.then(async () => {
        if (message.kind === 'close') {
          dispose();
          process.exit(); // of the thread, whatever handles what it opened keeps
        }
        const { id } = message;
        try {
          const { value, transferred } = await reply(message.request);
          tell({ kind: 'replied', id, value }, transferred);
        } catch (error) {
          tell({ kind: 'failed', id, ...toThreadError(error) });
        }
      });
    });
    tell({ kind: 'opened', opened });
  } catch (error) {
    tell({ kind: 'not-opened', ...toThreadError(error) });
  }
}
