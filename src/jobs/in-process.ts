import { KdSpecError } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { describeProgress, type Engine, isOwnFailure, type SpecialistFailure } from './engine.js';
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
        if (!(error instanceof KdSpecError && isOwnFailure(error.code))) throw error;
        failed.push({ id, reason: error.message });
      }
      progress.update(position + 1, describeProgress({ done, failed }));
    }
  } finally {
    trainer.dispose();
  }
  progress.finish(describeProgress({ done, failed }));
  return { done, failed };
};
