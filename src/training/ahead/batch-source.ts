import type { TrainingBatch } from '../train.js';

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
