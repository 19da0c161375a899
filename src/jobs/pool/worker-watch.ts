import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

const tickMs = 500;
const memoryTicks = 2; // between two looks at a process's memory

/** Watches over a worker: {@link WorkerWatch.sign} puts off its end. */
export interface WorkerWatch {
  /** Tells that the worker made progress. */
  sign(): void;
  /** Grants it this much longer at most, whatever signs it gives: it was told to stop. */
  endWithin(ms: number, reason: string): void;
  /** Why it was killed; undefined when it was not. */
  reason(): string | undefined;
  stop(): void;
}

/**
 * Kills a worker that makes no progress for too long, or that takes more memory than its share.
 *
 * Silence is counted in ticks of this process's own timer, so that one which was itself suspended, with its machine or
 * alone, blames nobody for the time it missed.
 */
export function watchWorker(
  child: ChildProcess,
  { hangSeconds, memoryMegabytes }: { readonly hangSeconds: number; readonly memoryMegabytes: number },
): WorkerWatch {
  let silentTicks = 0;
  let ticks = 0;
  let reason: string | undefined;
  let grace: NodeJS.Timeout | undefined;
  const kill = (why: string) => {
    reason ??= why;
    child.kill('SIGKILL'); // a worker that hangs, or was suspended, receives nothing else
  };
  const timer = setInterval(() => {
    if (++silentTicks * tickMs > 1000 * hangSeconds) {
      kill(`its process made no progress for ${hangSeconds} s and was ended (--hang-seconds sets the limit)`);
    }
    const megabytes = ++ticks % memoryTicks === 0 && child.pid ? processMegabytes(child.pid) : undefined;
    if (megabytes !== undefined && megabytes > memoryMegabytes) {
      kill(
        `its process was ended for its memory: ${Math.round(megabytes)} MB, of a share of ${memoryMegabytes} MB ` +
          '(fewer processes with --parallel leave more for each; --worker-memory sets the limit)',
      );
    }
  }, tickMs);
  return {
    sign: () => {
      silentTicks = 0;
    },
    endWithin: (ms, why) => {
      grace ??= setTimeout(kill, ms, why);
    },
    reason: () => reason,
    stop: () => {
      clearInterval(timer);
      clearTimeout(grace);
    },
  };
}

/**
 * Megabytes that a process holds for itself: its heap, tensors and buffers, but not the programs and libraries that it
 * shares with others, nor the files that the system caches for it.
 *
 * @returns undefined when the process is gone, or where the system does not tell (it has no /proc, as Linux does)
 */
function processMegabytes(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kilobytes = ['RssAnon', 'RssShmem'].map((name) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN),
    );
    const sum = kilobytes[0] + kilobytes[1];
    return Number.isNaN(sum) ? undefined : sum / 1024;
  } catch {
    return undefined;
  }
}
