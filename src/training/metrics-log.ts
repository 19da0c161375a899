import { appendFile, readFile } from 'node:fs/promises';
import { writeFileAtomically } from '../core/atomic-file.js';

/** One line of `metrics.jsonl`: a check, at least after each epoch of training. */
export interface EpochMetrics {
  /** Epochs done: 1 after the first; early stopping may look in between. */
  readonly epoch: number;
  /** Steps done. */
  readonly step: number;
  /** Mean training loss over the epoch so far. */
  readonly loss: number;
  readonly learningRate: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  /** On validation images after the epoch, where they were looked at. */
  readonly validationTop1?: number;
  /** Mean negative log-likelihood on them, in nats. */
  readonly validationLoss?: number;
  /** The least of them over some temperatures of the softmax, as calibration will fit one; early stopping goes by it. */
  readonly validationTemperedLoss?: number;
}

/** Appends an epoch to the file. */
export async function appendMetrics(path: string, metrics: EpochMetrics): Promise<void> {
  await appendFile(path, `${JSON.stringify(metrics)}\n`);
}

/** Drops what was written after the checkpoint from which training continues, and a torn last line. */
export async function rewindMetrics(path: string, step: number): Promise<void> {
  const kept = (await readMetrics(path)).filter((metrics) => metrics.step <= step);
  await writeFileAtomically(path, kept.map((metrics) => `${JSON.stringify(metrics)}\n`).join(''));
}

/** The newest line; undefined before the first. */
export async function lastMetrics(path: string): Promise<EpochMetrics | undefined> {
  return (await readMetrics(path)).at(-1);
}

/** All lines that are whole; none where there is no file. */
export async function readMetrics(path: string): Promise<EpochMetrics[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as EpochMetrics];
    } catch {
      return [];
    }
  });
}
