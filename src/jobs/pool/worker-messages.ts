import type { ErrorCode } from '../../core/errors.js';
import type { JobProgress } from '../engine.js';
import type { SpecialistOutcome, SpecialistWork } from '../specialist-work.js';

/** What a pool says to its workers. */
export type ToWorker =
  | { readonly kind: 'open'; readonly work: SpecialistWork }
  | { readonly kind: 'train'; readonly position: number }
  | { readonly kind: 'stop' };

/** What a worker says to its pool. */
export type FromWorker =
  | { readonly kind: 'ready' }
  | ({ readonly kind: 'progress'; readonly position: number } & JobProgress)
  | { readonly kind: 'done'; readonly position: number; readonly outcome: SpecialistOutcome }
  | {
      readonly kind: 'failed';
      /** Undefined when the worker could not even open the work. */
      readonly position: number | undefined;
      readonly code: ErrorCode | undefined;
      readonly message: string;
    };
