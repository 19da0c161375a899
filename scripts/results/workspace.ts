import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import type { StageResults } from '../../src/pipeline/stage-metrics.js';
import type { StageName } from '../../src/pipeline/stage-names.js';

/** Settings by section, as a pipeline file has them. */
export type Overrides = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What a script was given: a folder that keeps all, `--seeds` and `--out`. */
export function folderAndSeeds(expected: string) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string', default: '1,2,3' },
      out: { type: 'string', default: 'docs/results' },
    },
  });
  const [place] = positionals;
  if (place === undefined) throw new Error(`expected ${expected}`);
  return { folder: resolve(place), seeds: values.seeds.split(',').map(Number), out: values.out };
}

/** Runs the built command and returns what it prints with `--json`. */
export function kdSpec(...words: string[]): unknown {
  const output = execFileSync(process.execPath, ['dist/cli/main.js', ...words, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  });
  return JSON.parse(output.toString());
}

/** The metrics of a finished stage. */
export function metricsOf<Name extends StageName>(workspace: string, stage: Name): StageResults[Name] {
  const { metrics } = JSON.parse(readFileSync(join(workspace, stage, 'manifest.json'), 'utf8'));
  return metrics;
}

/** A pipeline file, and the folder of its runs under one seed. */
export interface Bench {
  readonly pipeline: string;
  readonly folder: string;
  readonly seed: number;
}

/** A run of a pipeline with changes, in a workspace that starts with some artefacts of another variant's. */
export function runVariant(
  { pipeline, folder, seed }: Bench,
  variant: string,
  overrides: Overrides,
  from?: readonly [variant: string, stages: readonly string[]],
) {
  const workspace = join(folder, variant);
  mkdirSync(workspace, { recursive: true });
  if (from) borrow(join(folder, from[0]), workspace, from[1]);
  writeVariant(pipeline, overrides, join(workspace, 'pipeline.yaml'));
  return {
    workspace,
    until: (command: 'dataset' | 'train-generalist' | 'predict' | 'cluster' | 'calibrate' | 'evaluate') => {
      kdSpec(command, '--workspace', workspace, '--seed', String(seed));
    },
  };
}

/** Writes a pipeline file: another one with some settings changed; null takes a setting away. */
function writeVariant(pipeline: string, overrides: Overrides, path: string): void {
  const settings = parse(readFileSync(pipeline, 'utf8'));
  for (const [section, values] of Object.entries(overrides)) {
    settings[section] = merged(settings[section] ?? {}, values);
  }
  writeFileSync(path, stringify(settings));
}

type Tree = { [key: string]: unknown };

function merged(base: Tree, changes: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) delete result[key];
    else if (typeof value === 'object' && !Array.isArray(value)) {
      result[key] = merged((base[key] ?? {}) as Tree, value as Tree);
    } else result[key] = value;
  }
  return result;
}

/** Gives a workspace finished artefacts of another one, which are then up to date if nothing that decides them changes. */
export function borrow(from: string, workspace: string, stages: readonly string[]): void {
  mkdirSync(workspace, { recursive: true });
  for (const stage of stages) {
    const place = join(workspace, stage);
    if (existsSync(place)) continue;
    const partial = `${place}.copy`;
    rmSync(partial, { recursive: true, force: true });
    cpSync(join(from, stage), partial, { recursive: true, preserveTimestamps: true });
    renameSync(partial, place);
  }
}

/** A result that is kept in a file, so that an interrupted comparison goes on where it was. */
export async function remembered<T>(path: string, make: () => T | Promise<T>): Promise<T> {
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8'));
  const value = await make();
  writeFileSync(`${path}.part`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.part`, path); // whole or not at all
  return value;
}
