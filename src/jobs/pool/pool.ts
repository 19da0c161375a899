import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { shareOfMachine } from '../../compute/backend.js';
import { KdSpecError } from '../../core/errors.js';
import { atSpecialist, type Engine, isOwnFailure, type JobEnd } from '../engine.js';
import type { SpecialistWork } from '../specialist-work.js';
import type { WorkerShare } from './pool-size.js';
import type { FromWorker, ToWorker } from './worker.js';
import { watchWorker } from './worker-watch.js';

const maxFailedStarts = 3; // one after the other
const stopSeconds = 60; // from being told to stop to the checkpoint
const workerProgram = fileURLToPath(new URL('./worker.js', import.meta.url));

/**
 * Trains the specialists in child processes, each with its own backend and its share of cores and memory.
 *
 * A worker takes the next specialist when it has finished one, and leaves when there is none. A job whose worker
 * crashes, makes no progress or takes too much memory is lost; another worker takes its place. The share of memory
 * bounds what a worker holds for itself, looked at once a second (on Linux), and its JavaScript heap, which V8 keeps.
 *
 * @param share.workers how many processes, at least 1
 * @param options.hangSeconds without progress after which a worker is ended
 */
export function createPool(
  { workers, memoryMegabytes }: WorkerShare,
  { hangSeconds }: { readonly hangSeconds: number },
): Engine {
  return {
    name: workers === 1 ? 'one process' : `${workers} processes`,
    outlivesCoordinator: false,
    async open(work, { listener }) {
      const queue: number[] = [];
      const lives = new Set<Promise<void>>(); // one for each worker that is alive
      const stops = new Set<() => void>();
      const children = new Set<ChildProcess>();
      let failedStarts = 0;
      let isStopping = false;

      const end = (position: number, end: JobEnd) => listener({ kind: 'ended', position, end });
      const breakDown = (error: Error) => {
        isStopping = true;
        listener({ kind: 'broken', error });
      };

      // A second signal, which ends this process at once, ends the workers too: what they wrote last counts.
      const killAll = () => {
        for (const child of children) child.kill('SIGKILL');
      };
      process.once('exit', killAll);

      /** One worker's life, from its start until it has nothing left to do or dies. */
      async function live(): Promise<void> {
        const child = fork(workerProgram, {
          stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
          env: { ...process.env, ...shareOfMachine(workers) },
          execArgv: [...process.execArgv, `--max-old-space-size=${memoryMegabytes}`],
        });
        children.add(child);
        const watch = watchWorker(child, { hangSeconds, memoryMegabytes });
        const tell = (message: ToWorker) => child.connected && child.send(message);
        const stop = () => {
          tell({ kind: 'stop' });
          watch.endWithin(
            1000 * stopSeconds,
            `it wrote no checkpoint within ${stopSeconds} s of being told to`,
          );
        };
        stops.add(stop);
        let isReady = false;
        let current: number | undefined;
        const next = () => {
          current = isStopping ? undefined : queue.shift();
          if (current === undefined) return child.disconnect();
          tell({ kind: 'train', position: current });
          listener({ kind: 'started', position: current, where: `process ${child.pid}` });
        };
        child.on('message', (message: FromWorker) => {
          watch.sign();
          if (message.kind === 'progress') return listener(message);
          if (message.kind === 'ready') {
            isReady = true;
            failedStarts = 0;
          }
          if (message.kind === 'done') end(message.position, { kind: 'done', outcome: message.outcome });
          if (message.kind === 'failed') {
            const { position, code, message: reason } = message;
            if (position !== undefined && code === 'interrupted') end(position, { kind: 'stopped' });
            else if (position !== undefined && isOwnFailure(code)) end(position, { kind: 'failed', reason });
            else breakDown(toError(message, work));
          }
          next();
        });
        tell({ kind: 'open', work });
        const how = await ended(child);
        const reason = watch.reason() ?? `its process ended with ${how}`;
        watch.stop();
        children.delete(child);
        stops.delete(stop);
        if (current !== undefined) {
          end(current, { kind: 'lost', reason });
        } else if (!isReady && !isStopping && ++failedStarts >= maxFailedStarts) {
          breakDown(
            new KdSpecError(
              'job-failed',
              `${failedStarts} worker processes ended at their start, the last because ${reason}: is there memory ` +
                `for ${workers} of them? --parallel takes another number`,
            ),
          );
        }
      }

      /** Starts workers while there are free places and work that nobody has taken. */
      function fillPlaces(): void {
        const free = isStopping ? 0 : Math.min(workers - lives.size, queue.length);
        for (let place = 0; place < free; place++) {
          const life = live().then(() => {
            lives.delete(life);
            fillPlaces();
          });
          lives.add(life);
        }
      }

      async function cancel(): Promise<void> {
        isStopping = true;
        for (const position of queue.splice(0)) end(position, { kind: 'stopped' });
        for (const stop of stops) stop();
        await Promise.all(lives);
      }

      return {
        submit: async (positions) => {
          queue.push(...positions);
          fillPlaces();
        },
        cancel,
        [Symbol.asyncDispose]: async () => {
          await cancel();
          process.removeListener('exit', killAll);
        },
      };
    },
  };
}

function toError(
  { position, code, message }: Extract<FromWorker, { kind: 'failed' }>,
  { subsets }: SpecialistWork,
): Error {
  const error = code === undefined ? new Error(message) : new KdSpecError(code, message);
  return position === undefined ? error : atSpecialist(subsets[position].id, error);
}

/** Resolves with how a process ended, in words. */
function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    // Each message that does not reach a dead child is an error of its own.
    child.on('error', (error) => resolve(error.message));
    child.once('exit', (code, killer) => resolve(killer ?? `exit code ${code}`));
  });
}
