/** The program of a thread of `thread.ts`: runs one task and tells how it ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from './errors.js';
import { type FromThread, type ThreadData, type ThreadTask, toThreadError } from './thread.js';

const { module, name, parameters } = workerData as ThreadData;

async function runTask(): Promise<FromThread<unknown>> {
  try {
    const exports: Record<string, ThreadTask<unknown, unknown> | undefined> = await import(module);
    const task = exports[name];
    assert(task !== undefined, `${module} has no export ${name}`);
    return { kind: 'done', result: await task.run(parameters) };
  } catch (error) {
    return { kind: 'failed', ...toThreadError(error) };
  }
}

parentPort?.postMessage(await runTask());
