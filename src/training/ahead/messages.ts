import type { ErrorCode } from '../../core/errors.js';
import type { TrainingBatch } from '../train.js';

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
