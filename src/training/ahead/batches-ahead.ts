import { availableParallelism } from 'node:os';
import type { TrainingBatch } from '../train.js';
import type { BatchSource, EpochBatches } from './batch-source.js';
import { BatchThread } from './batch-thread.js';

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
