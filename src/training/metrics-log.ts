import { appendFile, readFile } from 'node:fs/promises';
import { writeFileAtomically } from '../core/atomic-file.js';

/** One line of `metrics.jsonl`: an epoch of training. */
export interface EpochMetrics {
  /** 1 for the first. */
  readonly epoch: number;
  /** Steps done when the epoch ended. */
  readonly step: number;
  /** Mean training loss over the epoch. */
  readonly loss: number;
  readonly learningRate: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  /** On validation images after the epoch, where they were looked at. */
  readonly validationTop1?: number;
  /** Mean negative log-likelihood on them, in nats. */
  readonly validationLoss?: number;
}

/** Appends an epoch to the file. */
export async function appendMetrics(path: string, metrics: EpochMetrics): Promise<void> {
  await appendFile(path, `${JSON.stringify(metrics)}\n`);
}

/** Drops what was written after the checkpoint from which training continues, and a torn last line. */
export async function rewindMetrics(path: string, step: number): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const kept = text.split('\n').filter((line) => {
    try {
      return (JSON.parse(line) as EpochMetrics).step <= step;
    } catch {
      return false;
    }
  });
  await writeFileAtomically(path, kept.map((line) => `${line}\n`).join(''));
}
