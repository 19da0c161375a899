import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, KdSpecError } from '../core/errors.js';
import type { TrainingBatch } from './train.js';

/** The batches of a training, epoch by epoch; always the same for the same epoch. */
export interface EpochBatches {
  /** The batches of an epoch (0 for the first) after the first `skip` ones. */
  batches(epoch: number, skip: number): AsyncIterable<TrainingBatch>;
}

/**
 * A maker of batches that can also work in a thread: named by its module and export, which the thread imports, with
 * parameters that can be sent there (plain data).
 */
export interface BatchSource<Parameters> {
  /** `import.meta.url` of the module that exports it. */
  readonly module: string;
  /** Under which name the module exports it. */
  readonly name: string;
  open(parameters: Parameters): Promise<EpochBatches>;
}

/** Batches with whatever makes them, which ends with `Symbol.asyncDispose`. */
export interface OpenBatches extends EpochBatches, AsyncDisposable {}

const ahead = 3; // finished batches that wait: enough to bridge the reading of the next block of shards
const worthwhileExamples = 50_000; // a thread takes about 0.2 s to start, as long as 5,000 examples to prepare

/**
 * Opens the batches of a training, made in a thread of their own, ahead of the step that takes them.
 *
 * The batches are the same with and without the thread. It is left out where it does not pay: with a single core,
 * and for a training that is over in seconds.
 *
 * @param parameters what the source is opened with; plain data
 * @param options.epochs after which the thread ends
 * @param options.examples of the whole training, by which it is judged
 */
export async function openBatchesAhead<Parameters>(
  source: BatchSource<Parameters>,
  parameters: Parameters,
  { epochs, examples }: { readonly epochs: number; readonly examples: number },
): Promise<OpenBatches> {
  if (availableParallelism() > 1 && examples >= worthwhileExamples) {
    return new BatchThread(source, parameters, { epochs, ahead });
  }
  const opened = await source.open(parameters);
  return {
    batches: (epoch: number, skip: number): AsyncIterable<TrainingBatch> => opened.batches(epoch, skip),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** What a batch thread is started with: a {@link BatchSource} by name, and what it is opened with. */
export interface BatchThreadData {
  readonly module: string;
  readonly name: string;
  readonly parameters: unknown;
  readonly epochs: number;
  /** Batches that may be finished and not yet taken. */
  readonly ahead: number;
}

/** What the trainer says to the thread. `generation` counts the starts: what belongs to an older one is dropped. */
export type ToBatchThread =
  | { readonly kind: 'start'; readonly generation: number; readonly epoch: number; readonly skip: number }
  | { readonly kind: 'taken' }
  | { readonly kind: 'stop' };

/** What the thread says: batches in order, through all epochs; then how it ended. */
export type FromBatchThread = { readonly generation: number } & (
  | {
      readonly kind: 'batch';
      readonly epoch: number;
      readonly position: number;
      readonly batch: TrainingBatch;
    }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode | undefined;
      readonly message: string;
      readonly stack: string | undefined;
    }
);

type OfKind<Kind> = Extract<FromBatchThread, { kind: Kind }>;

const longestGoodbye = 10_000; // ms, for a thread that waits for a disk without end

const program = new URL('./batch-thread-program.js', import.meta.url);

/**
 * A thread that makes the batches of a training ahead of it.
 *
 * The thread runs on from epoch to epoch. Asking for the batches that come next anyway continues it; asking for
 * others restarts it at their place. What the thread throws is thrown where its batch would have been taken.
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
