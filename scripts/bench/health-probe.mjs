/**
 * A thread that asks a server's `/healthz` four times a second until it gets a message, and then posts the slowest answer
 * in milliseconds. It has an event loop of its own, so that whoever makes the load does not delay what is measured.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

let isDone = false;
parentPort.once('message', () => {
  isDone = true;
});
let slowestMs = 0;
while (!isDone) {
  const begin = performance.now();
  const { status } = await fetch(new URL('/healthz', workerData));
  if (status !== 200) throw new Error(`/healthz gave ${status}`);
  slowestMs = Math.max(slowestMs, performance.now() - begin);
  await wait(250);
}
parentPort.postMessage(slowestMs);
