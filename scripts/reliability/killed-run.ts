import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { stageNames } from '../../src/pipeline/stage-names.js';

/** Where a run is: before its first stage, in one, or after the last. */
export const places = ['start', ...stageNames] as const;
export type Place = (typeof places)[number];

/** A run of the command line, in a process group of its own. */
export interface Run {
  readonly child: ChildProcess;
  /** When each place was entered, in milliseconds from the start. */
  readonly entered: Partial<Record<Place, number>>;
  /** Where it is now. */
  place(): Place;
  elapsedMs(): number;
  stderr(): string;
  readonly ended: Promise<{ readonly code: number | null; readonly ms: number }>;
}

export function startRun(words: readonly string[], folder: string): Run {
  const startMs = performance.now();
  const child = spawn(process.execPath, [...words], {
    cwd: folder,
    detached: true, // a group of its own, so that all of it can be killed
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH },
  });
  let text = '';
  let place: Place = 'start';
  const entered: Partial<Record<Place, number>> = { start: 0 };
  child.stderr?.on('data', (chunk) => {
    text += chunk;
    for (const name of places) {
      if (name in entered || !new RegExp(`^${name}: (?!to be|up to date)`, 'm').test(text)) continue;
      entered[name] = performance.now() - startMs;
      place = name;
    }
  });
  const ended = new Promise<{ code: number | null; ms: number }>((resolve) => {
    child.once('exit', (code) => resolve({ code, ms: performance.now() - startMs }));
  });
  return {
    child,
    entered,
    place: () => place,
    elapsedMs: () => performance.now() - startMs,
    stderr: () => text,
    ended,
  };
}

/** Waits until a run enters a place, and some time more; false when it ended before. */
export async function reaches(run: Run, place: Place, delayMs: number): Promise<boolean> {
  let hasEnded = false;
  run.ended.then(() => {
    hasEnded = true;
  });
  while (!(place in run.entered) && !hasEnded) await wait(2);
  const timer = wait(delayMs);
  await Promise.race([timer, run.ended]);
  return !hasEnded;
}

/** The processes of a group that are alive and not zombies. */
export function membersOf(group: number): readonly number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(processGroup) === group && state !== 'Z' ? [Number(name)] : [];
    } catch {
      return []; // ended meanwhile
    }
  });
}
