import { type Log, silentLog } from '../core/log.js';
import type { JobProgress } from './engine.js';

/** A log of which only the progress is heard: what a job tells whoever started it. */
export function progressLog(tell: (progress: JobProgress) => void): Log {
  return {
    ...silentLog,
    progress: (_label, total) => {
      const update = (done: number, note = '') => tell({ done, total, note });
      update(0);
      return { update, finish: (note) => update(total, note) };
    },
  };
}
