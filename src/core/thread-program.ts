/** The program of a thread of `thread.ts`: runs tasks, one after the other, and tells how each ended. */
import { parentPort } from 'node:worker_threads';
import { assert } from './errors.js';
import { type FromThread, type ThreadRequest, type ThreadTask, toThreadError } from './thread.js';

async function runTask({ module, name, parameters }: ThreadRequest): Promise<FromThread<unknown>> {
  try {
    const exports: Record<string, ThreadTask<unknown, unknown> | undefined> = await import(module);
    const task = exports[name];
    assert(task !== undefined, `${module} has no export ${name}`);
    return { kind: 'done', result: await task.run(parameters) };
  } catch (error) {
    return { kind: 'failed', ...toThreadError(error) };
  }
}

const port = parentPort;
port?.on('message', async (request: ThreadRequest) => port.postMessage(await runTask(request)));
