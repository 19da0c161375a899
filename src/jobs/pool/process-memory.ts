import { readFileSync } from 'node:fs';

/**
 * Megabytes that a process holds for itself: its heap, tensors and buffers, but not the programs and libraries that it
 * shares with others, nor the files that the system caches for it.
 *
 * @returns undefined when the process is gone, or where the system does not tell (it has no /proc, as Linux does)
 */
export function processMegabytes(pid: number): number | undefined {
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
