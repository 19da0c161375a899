import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { generatorNames } from '../data/importers/importers.js';
import type { Settings } from './options.js';

/** What tells a source that was changed from one that was not, without reading it. */
export interface SourceState {
  readonly files: number;
  readonly bytes: number;
  /** When the file was modified that was modified last, in milliseconds since 1970. */
  readonly modifiedMs: number;
}

const mostFiles = 200_000; // looked at in about two seconds; more take too long for each command
const atOnce = 64;

/** What the settings name as a source of images, by the key under which a data set remembers its state. */
const sources = {
  sourceState: ({ dataset: { source } }: Settings) => source,
  bystandersState: ({ dataset: { bystanders } }: Settings) => bystanders,
} as const;

type SourceKey = keyof typeof sources;
const sourceKeys = ['sourceState', 'bystandersState'] as const satisfies readonly SourceKey[];

/** The states of all sources, as far as they can be told. */
export async function sourceStates(settings: Settings): Promise<Partial<Record<SourceKey, SourceState>>> {
  const states: Partial<Record<SourceKey, SourceState>> = {};
  for (const key of sourceKeys) {
    const source = sources[key](settings);
    const state = source === null ? undefined : await stateOf(source, settings.workspace);
    if (state) states[key] = state;
  }
  return states;
}

/** What has changed since an import, a sentence for each source. */
export async function sourceChanges(
  settings: Settings,
  before: Partial<Record<SourceKey, SourceState>>,
): Promise<readonly { readonly source: string; readonly change: string }[]> {
  const changes: { readonly source: string; readonly change: string }[] = [];
  for (const key of sourceKeys) {
    const [source, earlier] = [sources[key](settings), before[key]];
    if (source === null || earlier === undefined) continue; // too many files to look at, then or now
    const now = await stateOf(source, settings.workspace);
    const change = now && changeBetween(earlier, now);
    if (change !== undefined) changes.push({ source, change });
  }
  return changes;
}

/**
 * The state of a source: of a file, or of all files of a folder, links followed.
 *
 * Hidden files and the workspace do not count.
 *
 * @returns undefined for a generated data set, and for a source that is not there, cannot be read, or has over 200,000
 * files
 * Cost: one look at each file, which is not opened.
 */
async function stateOf(source: string, workspace: string): Promise<SourceState | undefined> {
  if (generatorNames.includes(source)) return undefined;
  const own = resolve(workspace);
  const visited = new Set<string>();
  let [files, bytes, modifiedMs] = [0, 0, 0];
  const look = async (path: string): Promise<readonly string[]> => {
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || resolve(path) === own) return [];
    if (info.isFile()) {
      files++;
      bytes += info.size;
      modifiedMs = Math.max(modifiedMs, Math.floor(info.mtimeMs));
    }
    const key = `${info.dev}:${info.ino}`;
    if (!info.isDirectory() || visited.has(key)) return [];
    visited.add(key);
    const names = await readdir(path).catch(() => []);
    return names.filter((name) => !name.startsWith('.')).map((name) => join(path, name));
  };
  const left = [source];
  while (left.length > 0) {
    const found = await Promise.all(left.splice(-atOnce).map(look));
    for (const paths of found) for (const path of paths) left.push(path);
    if (files + left.length > mostFiles) return undefined;
  }
  return files === 0 ? undefined : { files, bytes, modifiedMs };
}

/** How a source differs from what it was, in words; undefined where it does not. */
function changeBetween(before: SourceState, now: SourceState): string | undefined {
  const count = (files: number) => `${files.toLocaleString('en')} ${files === 1 ? 'file' : 'files'}`;
  if (now.files !== before.files) return `${count(before.files)} then, ${count(now.files)} now`;
  if (now.bytes !== before.bytes)
    return `${before.bytes.toLocaleString('en')} bytes then, ${now.bytes.toLocaleString('en')} now`;
  return now.modifiedMs === before.modifiedMs ? undefined : 'files have other times of modification';
}
