import { KdSpecError } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import type { Engine, SpecialistFailure } from './engine.js';
import { openSpecialistTrainer, type SpecialistOutcome } from './specialist-trainer.js';

/** Trains the specialists one after the other in this process. */
export const trainInProcess: Engine = async (work, { log, signal }) => {
  const trainer = await openSpecialistTrainer(work);
  const progress = log.progress('specialists', work.subsets.length);
  const done: SpecialistOutcome[] = [];
  const failed: SpecialistFailure[] = [];
  try {
    for (const [position, { id }] of work.subsets.entries()) {
      if (signal.aborted) throw new KdSpecError('interrupted', `stopped before specialist ${id}`);
      try {
        done.push(await trainer.train(position, { log: silentLog, signal }));
      } catch (error) {
        if (!isOwnFailure(error)) throw error;
        failed.push({ id, reason: error.message });
      }
      progress.update(position + 1, describe(done, failed));
    }
  } finally {
    trainer.dispose();
  }
  progress.finish(describe(done, failed));
  return { done, failed };
};

/** Whether an error concerns one specialist alone, so that the others go on. */
export function isOwnFailure(error: unknown): error is KdSpecError {
  return (
    error instanceof KdSpecError && (error.code === 'training-diverged' || error.code === 'subsets-invalid')
  );
}

/** A note for the progress bar. */
export function describe(done: readonly SpecialistOutcome[], failed: readonly SpecialistFailure[]): string {
  const earlier = done.filter(({ wasDone }) => wasDone).length;
  return [
    `${done.length - earlier} trained`,
    ...(earlier > 0 ? [`${earlier} done before`] : []),
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
  ].join(', ');
}
