/**
 * Runs of `kd-spec distill` and its kin whose results are kept by name: a script that is started again goes on where
 * it was. What a workspace's pipeline says holds for every run; each run states all that it changes.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What is measured of a network on a split. */
export interface Accuracy {
  readonly examples: number;
  readonly errors: number;
  readonly top1: number;
  readonly unseen: { readonly examples: number; readonly errors: number };
}

/** What `kd-spec distill --json` prints, as far as tables need it. */
export interface Distilled {
  readonly teacher?: { readonly validation?: Accuracy; readonly test?: Accuracy; readonly keptMass: number };
  readonly transferImages: number;
  readonly parameters: number;
  readonly trainingSeconds: number;
  readonly chosen: { readonly temperature: number; readonly hardWeight: number };
  readonly sweep: readonly {
    readonly temperature: number;
    readonly hardWeight: number;
    readonly validation: Accuracy;
    readonly curve: readonly {
      readonly epoch: number;
      readonly validation: number;
      readonly train: number;
      readonly test: number;
    }[];
  }[];
  readonly validation: Accuracy;
  readonly test: Accuracy;
  readonly bias?: {
    readonly offset: number;
    readonly validation: { readonly before: Accuracy; readonly after: Accuracy };
    readonly test: { readonly before: Accuracy };
    readonly testTuned?: { readonly offset: number; readonly test: Accuracy };
  };
}

/** Results by name, in a JSON file that grows with every run. */
export function openRecord(path: string) {
  mkdirSync(dirname(path), { recursive: true });
  const results: Record<string, unknown> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  return {
    /** Runs a command of kd-spec and keeps what it prints, unless that is already there. */
    once<Result>(name: string, words: readonly string[]): Result {
      if (!(name in results)) {
        process.stderr.write(`== ${name}: kd-spec ${words.join(' ')}\n`);
        results[name] = kdSpec(words);
        writeFileSync(`${path}.partial`, `${JSON.stringify(results, null, 1)}\n`);
        renameSync(`${path}.partial`, path);
      }
      return results[name] as Result;
    },
    has: (name: string) => name in results,
  };
}

/** What a command prints with `--json`. */
export function kdSpec(words: readonly string[]): unknown {
  const output = execFileSync(process.execPath, ['dist/cli/main.js', ...words, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 30,
  });
  return JSON.parse(output.toString());
}

/** A workspace that begins with the settings of a pipeline file. */
export function workspaceOf(folder: string, pipeline: string): string {
  mkdirSync(folder, { recursive: true });
  const place = join(folder, 'pipeline.yaml');
  if (!existsSync(place)) copyFileSync(pipeline, place);
  return folder;
}

export function meanAndDeviation(numbers: readonly number[]): { mean: number; deviation: number } {
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const squares = numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, numbers.length - 1)) };
}

/** `74.3 ± 1.2`, or the number alone where there is only one. */
export function within(numbers: readonly number[], digits = 1): string {
  const { mean, deviation } = meanAndDeviation(numbers);
  return numbers.length > 1 ? `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)}` : mean.toFixed(digits);
}
