import { type ErrorCode, KdSpecError } from '../core/errors.js';
import { type Log, silentLog } from '../core/log.js';
import type { SpecialistOutcome, SpecialistWork } from './specialist-work.js';

/** How often a lost job is tried again, on every engine. */
export const maxRetries = 2;

/**
 * Who trains specialists: this process, a pool of processes, a cluster.
 *
 * A job is "train the specialist at position p of this work": idempotent, resumable, and it leaves an artefact or an
 * unfinished training. So an engine only has to start jobs, to say how each ended, and to stop them. What is done is
 * seen in the folder ({@link collect}), and what drives the engine decides what is tried again
 * ({@link trainMissing}). One contract suite, test/support/engine-contract.ts, holds all engines to this.
 */
export interface Engine {
  /** For messages, as in `trained by ${name}`. */
  readonly name: string;
  /** Whether jobs go on when the process that submitted them is gone. */
  readonly outlivesCoordinator: boolean;
  /**
   * Prepares to run jobs of some work.
   *
   * @param options.listener is told of every job until the engine is disposed of
   */
  open(
    work: SpecialistWork,
    options: { readonly log: Log; readonly listener: (event: JobEvent) => void },
  ): Promise<Jobs>;
}

/** Jobs of one work. Disposing of them ends what needs this process; jobs that outlive it go on. */
export interface Jobs extends AsyncDisposable {
  /**
   * Starts or queues a job for each position, and returns when that is done, not when they are. One that is still
   * under way, from an earlier coordinator, is watched and not started twice. To retry is to submit again.
   */
  submit(positions: readonly number[]): Promise<void>;
  /** Stops every job: a training under way writes its checkpoint. Returns when all have ended. */
  cancel(): Promise<void>;
}

/** What a listener is told. */
export type JobEvent =
  /** A job began to train, e.g. where: `process 4711` or `node3, Slurm job 12_4`. */
  | { readonly kind: 'started'; readonly position: number; readonly where: string }
  /** A job that trains is so far; not every engine can tell. */
  | ({ readonly kind: 'progress'; readonly position: number } & JobProgress)
  | { readonly kind: 'ended'; readonly position: number; readonly end: JobEnd }
  /** Something is wrong with the work itself or with the engine: no job can succeed. */
  | { readonly kind: 'broken'; readonly error: Error };

/** How far a job is. */
export interface JobProgress {
  /** Steps of training. */
  readonly done: number;
  readonly total: number;
  /** E.g. its loss. */
  readonly note: string;
}

/** How a job ended. `log` is the file that tells more, where its engine keeps one. */
export type JobEnd =
  | { readonly kind: 'done'; readonly outcome: SpecialistOutcome }
  /** It would fail again in the same way: the others go on without it. */
  | { readonly kind: 'failed'; readonly reason: string; readonly log?: string }
  /** Its process or its machine ended under it: worth another try. */
  | { readonly kind: 'lost'; readonly reason: string; readonly log?: string }
  /** Somebody stopped it, after its checkpoint. */
  | { readonly kind: 'stopped' };

/** Whether an error concerns one specialist alone, so that the others go on; any other stops the engine. */
export function isOwnFailure(code: ErrorCode | undefined): boolean {
  return code === 'training-diverged' || code === 'subsets-invalid';
}

/** An error that ends the whole work, with the specialist at which it came up. */
export function atSpecialist(id: number, error: unknown): Error {
  const message = `specialist ${id}: ${error instanceof Error ? error.message : String(error)}`;
  return error instanceof KdSpecError
    ? new KdSpecError(error.code, message, { cause: error })
    : new Error(message, { cause: error });
}

/** A log that passes on progress alone: what a job reports to the process that started it. */
export function progressLog(tell: (progress: JobProgress) => void): Log {
  return {
    ...silentLog,
    progress: (_label, total) => {
      const update = (done: number, note = '') => tell({ done, total, note });
      update(0);
      return { update, finish: (note) => update(total, note) };
    },
  };
}
