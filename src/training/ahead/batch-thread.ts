import { Worker } from 'node:worker_threads';
import { KdSpecError } from '../../core/errors.js';
import type { TrainingBatch } from '../train.js';
import type { BatchSource, EpochBatches } from './batch-source.js';
import type { BatchThreadData, FromBatchThread, ToBatchThread } from './messages.js';

type OfKind<Kind> = Extract<FromBatchThread, { kind: Kind }>;

const longestGoodbye = 10_000; // ms, for a thread that waits for a disk without end

const program = new URL('./batch-thread-program.js', import.meta.url);

/**
 * A thread that makes the batches of a training ahead of it.
 *
 * The thread runs on from epoch to epoch. Asking for the batches that come next anyway continues it; asking for
 * others starts it anew at their place. What the thread throws is thrown where its batch would have been taken.
 */
export class BatchThread implements EpochBatches, AsyncDisposable {
  private readonly worker: Worker;
  private readonly ended: Promise<void>;
  private generation = 0;
  private waiting: FromBatchThread[] = [];
  private died: Error | undefined;
  private wake = () => {};

  constructor(
    { module, name }: Pick<BatchSource<never>, 'module' | 'name'>,
    parameters: unknown,
    { epochs, ahead }: { readonly epochs: number; readonly ahead: number },
  ) {
    const workerData: BatchThreadData = { module, name, parameters, epochs, ahead };
    this.worker = new Worker(program, { workerData });
    this.worker.on('message', (message: FromBatchThread) => {
      if (message.generation !== this.generation) return;
      this.waiting.push(message);
      this.wake();
    });
    const die = (error: Error) => {
      this.died ??= error;
      this.wake();
    };
    this.worker.on('error', die);
    this.ended = new Promise((resolve) => {
      this.worker.on('exit', (code) => {
        die(new Error(`the thread that prepares batches ended with ${code}`));
        resolve();
      });
    });
  }

  async *batches(epoch: number, skip: number): AsyncGenerator<TrainingBatch> {
    let next = this.generation === 0 ? undefined : await this.next();
    const isNext = next?.kind === 'batch' && next.epoch === epoch && next.position === skip;
    if (!isNext) {
      this.waiting = [];
      this.tell({ kind: 'start', generation: ++this.generation, epoch, skip });
      next = await this.next();
    }
    while (next?.kind === 'batch' && next.epoch === epoch) {
      this.waiting.shift();
      this.tell({ kind: 'taken' });
      yield next.batch;
      next = await this.next();
    }
  }

  /** The message that comes next, left where it is. */
  private async next(): Promise<OfKind<'batch'> | OfKind<'done'>> {
    let message = this.waiting.at(0);
    while (!message) {
      if (this.died) throw this.died;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      message = this.waiting.at(0);
    }
    if (message.kind === 'failed') throw asError(message);
    return message;
  }

  private tell(message: ToBatchThread): void {
    this.worker.postMessage(message);
  }

  /** Lets the thread end after the batch it is at: Node aborts the process when it ends one that is opening a decoder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.tell({ kind: 'stop' });
    const impatient = setTimeout(() => void this.worker.terminate(), longestGoodbye);
    await this.ended;
    clearTimeout(impatient);
  }
}

function asError({ code, message, stack }: OfKind<'failed'>): Error {
  const error = code === undefined ? new Error(message) : new KdSpecError(code, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
