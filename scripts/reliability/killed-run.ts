import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { stageNames } from '../../src/pipeline/stage-names.js';

/** Where a run is: before its first stage, in one, or after the last. */
export const places = ['start', ...stageNames] as const;
export type Place = (typeof places)[number];

/** Whether a place is another or comes before it. */
const isBefore = (place: Place, other: Place) => places.indexOf(place) <= places.indexOf(other);

/** A run of the command line, in a process group of its own. */
export interface Run {
  readonly child: ChildProcess;
  /** When each place was entered, in milliseconds from the start. */
  readonly entered: Partial<Record<Place, number>>;
  /** Where it is now; once it has ended, and all that it wrote was read, where it was at its end. */
  place(): Place;
  /** Resolves when a place or a later one is entered, in the very turn of the event loop that reads of it. */
  enters(place: Place): Promise<void>;
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
  const waiting: { readonly from: Place; readonly resolve: () => void }[] = [];
  child.stderr?.on('data', (chunk) => {
    text += chunk;
    for (const name of places) {
      if (name in entered || !new RegExp(`^${name}: (?!to be|up to date)`, 'm').test(text)) continue;
      entered[name] = performance.now() - startMs;
      place = name;
      for (const { from, resolve } of waiting) if (isBefore(from, name)) resolve();
    }
  });
  const ended = new Promise<{ code: number | null; ms: number }>((resolve) => {
    child.once('exit', (code) => {
      const ms = performance.now() - startMs;
      // Workers without a parent keep stderr open: what the command itself wrote is there after a moment.
      const drained = setTimeout(() => resolve({ code, ms }), 200);
      child.stderr?.once('close', () => {
        clearTimeout(drained);
        resolve({ code, ms });
      });
    });
  });
  return {
    child,
    entered,
    place: () => place,
    enters: (name) => {
      if (isBefore(name, place)) return Promise.resolve();
      return new Promise((resolve) => waiting.push({ from: name, resolve }));
    },
    elapsedMs: () => performance.now() - startMs,
    stderr: () => text,
    ended,
  };
}

/** Waits until a run enters a place, and some time more; false when it ended before. */
export async function reaches(run: Run, place: Place, delayMs: number): Promise<boolean> {
  const moment = run.enters(place).then(() => wait(delayMs, true));
  return Promise.race([moment, run.ended.then(() => false)]);
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
