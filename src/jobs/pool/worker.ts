import { type ErrorCode, KdSpecError } from '../../core/errors.js';
import { type JobProgress, progressLog } from '../engine.js';
import { openSpecialistTrainer, type SpecialistTrainer } from '../specialist-trainer.js';
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

/**
 * The program of a pool's child process: trains one specialist at a time, as it is told.
 *
 * It stops by itself, after a checkpoint, when its parent is gone.
 */
const abort = new AbortController();
let trainer: Promise<SpecialistTrainer> | undefined;

/** Tells the pool, if it is still there: a parent that was killed may be gone before its worker is told so. */
function say(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

function fail(error: unknown, position: number | undefined): void {
  const code = error instanceof KdSpecError ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  say({ kind: 'failed', position, code, message });
}

async function train(position: number): Promise<void> {
  try {
    const opened = await trainer;
    if (!opened) throw new Error('kd-spec defect: a worker was told to train before it was opened');
    const log = progressLog((progress) => say({ kind: 'progress', position, ...progress }));
    const outcome = await opened.train(position, { log, signal: abort.signal });
    say({ kind: 'done', position, outcome });
  } catch (error) {
    fail(error, position);
  }
  if (!process.connected) process.exit(0);
}

process.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'open':
      trainer = openSpecialistTrainer(message.work);
      trainer.then(
        () => say({ kind: 'ready' }),
        (error: unknown) => fail(error, undefined),
      );
      break;
    case 'train':
      void train(message.position);
      break;
    case 'stop':
      abort.abort();
      break;
  }
});
process.on('disconnect', () => {
  abort.abort();
  // A training notices the abort after its step and ends above; an idle worker has nothing to wait for.
  setTimeout(() => process.exit(0), 10_000).unref();
});
// The terminal sends Ctrl-C to the whole group: the parent decides, and tells.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => abort.abort());
