import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Running } from '../fixtures/command-line.js';

const secondAfterMs = 300;
/**
 * Mostly it is a fraction of a second. But V8 ends no thread before it has compiled the function that it is at, and one of
 * ONNX Runtime in WebAssembly takes it two seconds, where other tests and machines share the cores longer.
 */
const limitMs = 8000;

/** When the first signal comes, as a share of a command's work, and which. */
const moments = [
  [0.25, 'SIGTERM'],
  [0.5, 'SIGINT'],
  [0.5, 'SIGTERM'],
  [0.75, 'SIGINT'],
] as const;
/** How often a signal that came before a command's work, or after it, is sent again at a better moment. */
const retries = 8;

type Signal = (typeof moments)[number][1];

/**
 * Signals a command twice, in a life of its own for each of several moments. Each signal meets the command at work at
 * least once: what was too early or too late, because a life was slower or faster than the one that was measured, halves
 * the time in which the next try looks for it.
 *
 * @param start Starts the command anew, the time from which the moments count.
 * @param idleMs Until it is at work.
 * @param workMs How long it works undisturbed.
 */
export async function strikeInItsMiddle(
  start: () => Promise<Running>,
  { what, idleMs = 0, workMs }: { readonly what: string; readonly idleMs?: number; readonly workMs: number },
): Promise<void> {
  const met = new Set<Signal>();
  let [earliestMs, latestMs] = [0, idleMs + workMs];
  const tryAt = async (afterMs: number, signal: Signal) => {
    const outcome = await strike(await start(), { afterMs, signal });
    if (outcome === 'at work') met.add(signal);
    else if (outcome === 'not begun') earliestMs = Math.max(earliestMs, afterMs);
    else latestMs = Math.min(latestMs, afterMs);
  };
  for (const [share, signal] of moments) await tryAt(idleMs + share * workMs, signal);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    for (let tries = 0; tries < retries && !met.has(signal); tries++) {
      if (earliestMs >= latestMs) [earliestMs, latestMs] = [0, idleMs + workMs]; // two lives of other paces
      await tryAt((earliestMs + latestMs) / 2, signal);
    }
  }
  expect([...met].sort(), `signals that met ${what} in its middle`).toEqual(['SIGINT', 'SIGTERM']);
}

/**
 * Signals a running command twice. The second signal ends it at once, whatever it computes: signals are received between
 * two turns of the event loop, so that a loop that never yields shows up here as a process that lingers.
 *
 * @returns what the first signal met
 */
async function strike(
  { child, finished }: Running,
  { afterMs, signal }: { readonly afterMs: number; readonly signal: Signal },
): Promise<'not begun' | 'at work' | 'at its end'> {
  await wait(afterMs);
  child.kill(signal);
  await wait(secondAfterMs);
  child.kill(signal);
  const secondMs = performance.now();
  const { code, killedBy, stderr } = await finished;
  const lingeredMs = performance.now() - secondMs;
  expect(lingeredMs, `${signal} at ${afterMs.toFixed(0)} ms`).toBeLessThan(limitMs);
  if (code === 0) return 'at its end';
  // The first signal, or its own end, may have come so soon that the second one met a process with nothing left to do.
  if (killedBy === signal) {
    if (stderr === '') return 'not begun'; // it was still being loaded, and had no handler of signals
    if (/code: (interrupted|specialists-stopped)/.test(stderr)) return 'at work';
    expect(stderr).toBe('stopping as soon as finished work is kept; once more ends at once\n');
    return 'at its end';
  }
  // Specialists that were stopped before the second signal end the command as a pool of them does.
  const isStopped = stderr.includes('code: specialists-stopped');
  const expected = signal === 'SIGINT' && !isStopped ? 130 : 75;
  expect({ code, killedBy }, stderr).toEqual({ code: expected, killedBy: null });
  return 'at work';
}
