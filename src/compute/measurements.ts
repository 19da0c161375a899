import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { writeJsonAtomically } from '../core/atomic-file.js';
import { packageVersion } from '../core/package.js';

// What backends were measured to do on this machine, in a file of the user's caches. It may be deleted at any time.

/** One trial on every backend that there was. */
export type Measurement = {
  /** The machine and the versions of all that was measured: others are others' measurements. */
  readonly setting: string;
  /** What was measured. */
  readonly trial: string;
  readonly rates: {
    readonly backend: string;
    /** What it computed on, where that has a name. */
    readonly device: string | null;
    readonly examplesPerSecond: number;
  }[];
  readonly measuredAt: string;
};

const most = 100; // that are remembered, the newest

function path(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kd-spec', 'measurements.json');
}

/**
 * Names a machine with its backends as they are now.
 *
 * @param backends what says of each which one it is, versions too
 */
export function settingOf(backends: readonly string[]): string {
  const machine = `${process.platform}-${process.arch}, Node ${process.versions.node}`;
  return [`kd-spec ${packageVersion()}`, machine, ...backends].join('; ');
}

/** The measurements of a setting, the newest first; none where the file is missing or not understood. */
export async function readMeasurements(setting: string): Promise<readonly Measurement[]> {
  return (await readAll()).filter((measurement) => measurement.setting === setting);
}

/** Remembers a measurement. Where the folder cannot be written, the next process measures again. */
export async function rememberMeasurement(measurement: Measurement): Promise<void> {
  const others = (await readAll()).filter(
    ({ setting, trial }) => setting !== measurement.setting || trial !== measurement.trial,
  );
  await writeJsonAtomically(path(), [measurement, ...others].slice(0, most)).catch(() => {});
}

async function readAll(): Promise<readonly Measurement[]> {
  try {
    const { z } = await import('zod'); // when it is needed: help, which knows the backends' names, starts without it
    const rate = z.strictObject({
      backend: z.string(),
      device: z.string().nullable(),
      examplesPerSecond: z.number().nonnegative(),
    });
    const schema = z.array(
      z.strictObject({
        setting: z.string(),
        trial: z.string(),
        rates: z.array(rate),
        measuredAt: z.string(),
      }),
    );
    return schema.parse(JSON.parse(await readFile(path(), 'utf8')));
  } catch {
    return [];
  }
}
