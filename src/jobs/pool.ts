import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { KdSpecError } from '../core/errors.js';
import { describeProgress, type Engine, isOwnFailure, type SpecialistFailure } from './engine.js';
import type { FromWorker, ToWorker } from './messages.js';
import type { SpecialistOutcome } from './specialist-trainer.js';

const maxRetries = 2; // of a specialist whose worker crashed, and of starting workers
const workerProgram = fileURLToPath(new URL('./worker.js', import.meta.url));

/** How many workers the machine can take: the wasm backend keeps one core busy in each. */
export function defaultWorkers(): number {
  return availableParallelism();
}

/**
 * Trains the specialists in child processes, each with its own backend.
 *
 * A worker takes the next specialist when it has finished one. A specialist whose worker crashes is tried again in
 * a new one, at most twice; the others go on. When this process is told to stop, the workers write checkpoints.
 *
 * @param workers how many processes, at least 1
 */
export function createPool(workers: number): Engine {
  return async (work, { log, signal }) => {
    const queue = work.subsets.map((_, position) => position);
    const crashes = new Map<number, number>();
    const done: SpecialistOutcome[] = [];
    const failed: SpecialistFailure[] = [];
    let failedStarts = 0;
    let interrupted = false;
    let defect: Error | undefined;
    const progress = log.progress('specialists', work.subsets.length);
    const update = () => progress.update(done.length + failed.length, describeProgress({ done, failed }));

    /** One worker's life, from its start until it has nothing left to do or dies. */
    async function employ(): Promise<void> {
      const child = fork(workerProgram, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      const tell = (message: ToWorker) => child.connected && child.send(message);
      const stop = () => tell({ kind: 'stop' });
      signal.addEventListener('abort', stop);
      let isReady = false;
      let current: number | undefined;
      const next = () => {
        current = signal.aborted || interrupted || defect ? undefined : queue.shift();
        if (current === undefined) child.disconnect();
        else tell({ kind: 'train', position: current });
      };
      child.on('message', (message: FromWorker) => {
        if (message.kind === 'done') {
          done.push(message.outcome);
        } else if (message.kind === 'failed') {
          const id = message.position === undefined ? undefined : work.subsets[message.position].id;
          if (message.code === 'interrupted') interrupted = true;
          else if (id !== undefined && isOwnFailure(message.code))
            failed.push({ id, reason: message.message });
          else defect = toError(message);
        }
        if (message.kind === 'ready') isReady = true;
        else update();
        current = undefined;
        next();
      });
      tell({ kind: 'open', work });
      const reason = await ended(child);
      signal.removeEventListener('abort', stop);
      if (!isReady && !signal.aborted && ++failedStarts > maxRetries) {
        defect ??= new KdSpecError(
          'job-failed',
          `${failedStarts} worker processes ended at their start, the last with ${reason}: is there memory for ` +
            `${workers} of them? --parallel takes another number`,
        );
      }
      if (current === undefined || signal.aborted) return;

      const position = current;
      const { id } = work.subsets[position];
      const count = (crashes.get(position) ?? 0) + 1;
      crashes.set(position, count);
      if (count > maxRetries) {
        failed.push({ id, reason: `its process ended ${count} times, the last time with ${reason}` });
        update();
      } else {
        log.warn(`specialist ${id}: its process ended with ${reason}; trying again`);
        queue.unshift(position);
      }
    }

    /** Keeps one place of the pool filled while there is work. */
    async function fillPlace(): Promise<void> {
      while (queue.length > 0 && !signal.aborted && !interrupted && !defect) await employ();
    }

    await Promise.all(Array.from({ length: Math.min(workers, queue.length) }, fillPlace));
    progress.finish(describeProgress({ done, failed }));
    if (defect) throw defect;
    if (interrupted || signal.aborted) {
      throw new KdSpecError(
        'interrupted',
        `stopped with ${done.length} of ${work.subsets.length} specialists done`,
      );
    }
    return { done, failed };
  };
}

function toError({ code, message }: Extract<FromWorker, { kind: 'failed' }>): Error {
  return code === undefined ? new Error(message) : new KdSpecError(code, message);
}

/** Resolves with how a process ended, in words. */
function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    // Each message that does not reach a dead child is an error of its own.
    child.on('error', (error) => resolve(error.message));
    child.once('exit', (code, killer) => resolve(killer ?? `exit code ${code}`));
  });
}
