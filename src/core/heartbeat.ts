import { Worker } from 'node:worker_threads';

/**
 * Signs of life in a file, for those who cannot see the process: every few seconds the same bytes are written over
 * themselves, which moves the file's modification time and changes nothing else.
 *
 * A thread of its own beats, since a step of training or clustering may keep the main one busy for minutes. It is
 * one for all files of a process, and begins after the first interval, so that short work never starts it.
 */
const thread = `
  const { closeSync, fstatSync, fsyncSync, openSync, readFileSync, statSync, writeSync } = require('node:fs');
  const { parentPort } = require('node:worker_threads');
  const beating = new Map();
  const stop = (path) => {
    const { fd, timer } = beating.get(path) ?? {};
    if (timer === undefined) return;
    clearInterval(timer);
    closeSync(fd);
    beating.delete(path);
  };
  const beat = (path, fd, content) => {
    try {
      if (statSync(path).ino !== fstatSync(fd).ino) throw Object.assign(new Error(), { code: 'ENOENT' });
      writeSync(fd, content, 0, content.length, 0);
      fsyncSync(fd); // a client of a file server may hold it back otherwise
    } catch (error) {
      if (error.code !== 'ENOENT') return; // a full disk, a file server that is away: the next beat may go through
      stop(path);
      parentPort.postMessage(path);
    }
  };
  parentPort.on('message', ({ path, intervalMs }) => {
    if (intervalMs === undefined) return stop(path);
    try {
      const fd = openSync(path, 'r+');
      const content = readFileSync(fd);
      beating.set(path, { fd, timer: setInterval(beat, intervalMs, path, fd, content) });
      beat(path, fd, content);
    } catch {
      parentPort.postMessage(path);
    }
  });
`;

let worker: Worker | undefined;
const onLost = new Map<string, () => void>();

/**
 * Begins to beat on a file that exists.
 *
 * @param options.lost is called when the file is gone or another stands in its place
 * @returns ends it
 */
export function startHeartbeat(
  path: string,
  { intervalMs, lost }: { intervalMs: number; lost: () => void },
): () => void {
  const begin = setTimeout(() => {
    onLost.set(path, lost);
    heart().postMessage({ path, intervalMs });
  }, intervalMs);
  begin.unref();
  return () => {
    clearTimeout(begin);
    if (onLost.delete(path)) heart().postMessage({ path });
  };
}

function heart(): Worker {
  if (worker === undefined) {
    worker = new Worker(thread, {
      eval: true,
      stdin: false,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 16 },
    });
    worker.on('message', (path: string) => {
      const lost = onLost.get(path);
      onLost.delete(path);
      lost?.();
    });
    worker.on('error', () => {
      worker = undefined; // beats are a courtesy to other machines: the work goes on without
    });
    worker.unref(); // last: a listener for messages makes it hold the process again
  }
  return worker;
}
