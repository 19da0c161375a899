/** A thread of `row-threads.ts`: does the work that it is told, chunk by chunk. */
import { parentPort } from 'node:worker_threads';
import { type RowMessage, takeChunks } from './row-threads.js';

parentPort?.on('message', async (message: RowMessage) => {
  const { [message.name]: create } = await import(message.module);
  takeChunks(create(message.work), message);
});
