import { KdSpecError } from '../core/errors.js';
import { atSpecialist, type Engine, isOwnFailure, type JobEnd, progressLog } from './engine.js';
import { openSpecialistTrainer } from './specialist-trainer.js';

/** Trains the specialists one after the other in this process. */
export const inProcess: Engine = {
  name: 'this process',
  outlivesCoordinator: false,
  async open(work, { listener }) {
    const trainer = await openSpecialistTrainer(work);
    const abort = new AbortController();
    const queue: number[] = [];
    let training: Promise<void> | undefined;

    async function train(position: number): Promise<JobEnd> {
      if (abort.signal.aborted) return { kind: 'stopped' };
      listener({ kind: 'started', position, where: `process ${process.pid}` });
      try {
        const log = progressLog((progress) => listener({ kind: 'progress', position, ...progress }));
        const outcome = await trainer.train(position, { log, signal: abort.signal });
        return { kind: 'done', outcome };
      } catch (error) {
        const code = error instanceof KdSpecError ? error.code : undefined;
        if (code === 'interrupted') return { kind: 'stopped' };
        if (!(error instanceof KdSpecError && isOwnFailure(code)))
          throw atSpecialist(work.subsets[position].id, error);
        return { kind: 'failed', reason: error.message };
      }
    }

    async function trainAll(): Promise<void> {
      for (let position = queue.shift(); position !== undefined; position = queue.shift()) {
        listener({ kind: 'ended', position, end: await train(position) });
      }
      training = undefined;
    }

    return {
      submit: async (positions) => {
        queue.push(...positions);
        training ??= trainAll().catch((error: Error) => listener({ kind: 'broken', error }));
      },
      cancel: async () => {
        abort.abort();
        await training;
      },
      [Symbol.asyncDispose]: async () => {
        abort.abort();
        await training;
        trainer.dispose();
      },
    };
  },
};
