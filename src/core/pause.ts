import { KdSpecError } from './errors.js';

/** Called in the loops of a long computation: returns what to wait for, where it is time. */
export type Pause = () => Promise<void> | undefined;

const everyMs = 100;

/**
 * Keeps a long computation within reach of signals and timers.
 *
 * @param signal after it aborted, the next pause throws; none: pauses only let others run
 * @param doing what is interrupted, for a person
 * @returns a function for every loop: `const pause = rest(); if (pause) await pause;`. Nearly all its calls return at
 *   once; one in 100 ms lets the event loop turn, and throws KdSpecError `interrupted` after an abort.
 */
export function createPause(signal: AbortSignal | undefined, doing: string): Pause {
  let last = performance.now();
  const turn = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    last = performance.now();
    if (signal?.aborted) throw new KdSpecError('interrupted', `${doing}: stopped`);
  };
  return () => (performance.now() - last < everyMs ? undefined : turn());
}
