import type { Engine } from './engine.js';
import { inProcess } from './in-process.js';
import { createPool } from './pool/pool.js';
import { poolSize, type TrainingSize } from './pool/pool-size.js';

const defaultHangSeconds = 900;

/** What a user asks of this machine. Null asks for nothing. */
export interface LocalOptions {
  /** Processes that train side by side. */
  readonly parallel: number | 'auto' | null;
  /** Seconds without progress after which a process is ended. */
  readonly hangSeconds: number | null;
  /** Megabytes that a process may take before it is ended. */
  readonly workerMemory: number | null;
}

/**
 * The engine that trains on this machine, and in how many processes.
 *
 * It is this process if nothing was asked for. A number of processes, 1 too, makes a pool of child processes, and so
 * does a limit: who hangs or takes too much can only be ended from outside.
 */
export async function chooseLocalEngine(
  { parallel, hangSeconds, workerMemory }: LocalOptions,
  size: TrainingSize,
): Promise<{ readonly engine: Engine; readonly workers: number }> {
  if (parallel === null && hangSeconds === null && workerMemory === null) {
    return { engine: inProcess, workers: 1 };
  }
  const share = await poolSize(parallel ?? 1, { ...size, memoryMegabytes: workerMemory });
  const engine = createPool(share, { hangSeconds: hangSeconds ?? defaultHangSeconds });
  return { engine, workers: share.workers };
}
