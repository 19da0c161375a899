import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type WorkerWatch, watchWorker } from './worker-watch.js';

let child: ChildProcess;
let watch: WorkerWatch;
afterEach(() => {
  watch.stop();
  child.kill('SIGKILL');
});

/** Watches a process that does nothing, and receives no signal that it can ignore. */
function watchIdler(hangSeconds: number): Promise<readonly unknown[]> {
  child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)']);
  watch = watchWorker(child, { hangSeconds, memoryMegabytes: 1e6 });
  return once(child, 'exit');
}

test('a worker without progress is killed, one that gives signs is not', async () => {
  const exit = watchIdler(1);
  for (let look = 0; look < 8; look++) {
    await wait(250);
    watch.sign();
  }
  expect(watch.reason()).toBeUndefined();
  expect(await exit).toEqual([null, 'SIGKILL']);
  expect(watch.reason()).toContain('made no progress for 1 s');
});

test('a worker that was told to stop is killed when its grace is over, whatever signs it gives', async () => {
  const exit = watchIdler(900);
  watch.endWithin(300, 'it wrote no checkpoint');
  watch.endWithin(60_000, 'told again'); // does not lengthen it
  const signs = setInterval(() => watch.sign(), 50);
  expect(await exit).toEqual([null, 'SIGKILL']);
  clearInterval(signs);
  expect(watch.reason()).toBe('it wrote no checkpoint');
});
