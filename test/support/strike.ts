import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Running } from '../fixtures/command-line.js';

const secondAfterMs = 300;
/**
 * Mostly it is a fraction of a second. But V8 ends no thread before it has compiled the function that it is at, and one of
 * ONNX Runtime in WebAssembly takes it two seconds, where other tests and machines share the cores longer.
 */
const limitMs = 8000;

/** When the first signal comes, as a share of a command's time, and which. */
export const moments = [
  [0.25, 'SIGTERM'],
  [0.5, 'SIGINT'],
  [0.5, 'SIGTERM'],
  [0.75, 'SIGINT'],
] as const;

/**
 * Signals a running command twice. The second signal ends it at once, whatever it computes: signals are received between
 * two turns of the event loop, so that a loop that never yields shows up here as a process that lingers.
 *
 * @returns whether the command was still at work
 */
export async function strike(
  { child, finished }: Running,
  { afterMs, signal }: { readonly afterMs: number; readonly signal: 'SIGINT' | 'SIGTERM' },
): Promise<boolean> {
  await wait(afterMs);
  child.kill(signal);
  await wait(secondAfterMs);
  child.kill(signal);
  const secondMs = performance.now();
  const { code, killedBy, stderr } = await finished;
  const lingeredMs = performance.now() - secondMs;
  expect(lingeredMs, `${signal} at ${afterMs.toFixed(0)} ms`).toBeLessThan(limitMs);
  if (code === 0) return false;
  // The first signal, or its own end, may have come so soon that the second one met a process with nothing left to do.
  if (killedBy === signal) {
    if (stderr === '') return false; // it was still being loaded, and had no handler of signals
    const hasSaid = /code: (interrupted|specialists-stopped)/.test(stderr);
    if (!hasSaid) expect(stderr).toBe('stopping as soon as finished work is kept; once more ends at once\n');
    return hasSaid;
  } else {
    // Specialists that were stopped before the second signal end the command as a pool of them does.
    const isStopped = stderr.includes('code: specialists-stopped');
    const expected = signal === 'SIGINT' && !isStopped ? 130 : 75;
    expect({ code, killedBy }, stderr).toEqual({ code: expected, killedBy: null });
  }
  return true;
}
