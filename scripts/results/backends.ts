/**
 * The accuracy of a pipeline on each backend, over seeds of the generalist.
 *
 *     npm run build && npx tsx scripts/results/backends.ts pipelines/quickstart.yaml --runs wasm:1,2,3 --runs tensorflow:1,2,3
 *
 * The data are the same for all; what else is drawn at random follows the seed. Judged on validation, so that the test
 * images stay unread. Words after `--` change the pipeline: `-- --epochs 4`. Interrupted, it goes on where it
 * was. Writes `docs/results/backends.json` and the page `backends.md` of all pipelines that were run.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { percent } from '../../src/core/percent.js';
import type { Report } from '../../src/evaluation/report.js';
import { borrow, kdSpec } from './workspace.js';

interface BackendRun {
  readonly backend: string;
  readonly seed: number;
  readonly generalist: number;
  readonly ensemble: number;
  /** Of the ensemble's top-1, from the number of images. */
  readonly standardError: number;
}

interface PipelineRuns {
  readonly command: string;
  readonly classes: number;
  readonly images: number;
  readonly runs: readonly BackendRun[];
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', multiple: true, default: ['wasm:1,2,3', 'tensorflow:1,2,3'] },
    folder: { type: 'string', default: 'kd-workspace/backends' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [pipeline = 'pipelines/quickstart.yaml', ...changes] = positionals;
const name = basename(pipeline, '.yaml');
const folder = join(flags.folder, name);

/** Runs the pipeline in a workspace of its own; all take the data of the first. */
function runOn(backend: string, seed: number, first: string): { run: BackendRun; report: Report } {
  const workspace = join(folder, `${backend}-${seed}`);
  mkdirSync(workspace, { recursive: true });
  if (workspace !== first) borrow(first, workspace, ['dataset']);
  kdSpec(
    ...['run', pipeline, '--workspace', workspace, '--backend', backend, ...changes],
    ...['--generalist-seed', String(seed), '--evaluate-split', 'validation'],
  );
  const report: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
  const { generalist, ensemble } = report.test;
  const { top1: accuracy, top1StandardError: standardError } = ensemble;
  return { run: { backend, seed, generalist: generalist.top1, ensemble: accuracy, standardError }, report };
}

const wanted = flags.runs.flatMap((words) => {
  const [backend, seeds] = words.split(':');
  return seeds.split(',').map((seed) => ({ backend, seed: Number(seed) }));
});
const first = join(folder, `${wanted[0].backend}-${wanted[0].seed}`);
const done = wanted.map(({ backend, seed }) => runOn(backend, seed, first));
mkdirSync(flags.out, { recursive: true });
const path = join(flags.out, 'backends.json');
const all: Record<string, PipelineRuns> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
const words = [pipeline, ...flags.runs.map((some) => `--runs ${some}`)];
if (changes.length > 0) words.push('--', ...changes);
all[name] = {
  command: `npm run build && npx tsx scripts/results/backends.ts ${words.join(' ')}`,
  classes: done[0].report.dataset.classes,
  images: done[0].report.test.examples,
  runs: done.map(({ run }) => run),
};
writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`);
writeFileSync(join(flags.out, 'backends.md'), page(all));

function page(pipelines: Readonly<Record<string, PipelineRuns>>): string {
  const tables = Object.entries(pipelines).map(
    ([name, { command, classes, images, runs }]) => `## ${name}

${classes.toLocaleString('en')} classes, ${images.toLocaleString('en')} images. Top-1 of the ensemble ± its standard error on these images.

| backend | seed | generalist | ensemble |
| --- | ---: | ---: | ---: |
${runs.map(({ backend, seed, generalist, ensemble, standardError }) => `| ${backend} | ${seed} | ${percent(generalist)} | ${percent(ensemble)} ± ${(100 * standardError).toFixed(1)} |`).join('\n')}

${[...new Set(runs.map(({ backend }) => backend))].map((backend) => meanOf(backend, runs)).join(' ')}

    ${command}
`,
  );
  return `# The same pipeline on each backend

The same data for all; weights, order and augmentation of the generalist follow the seed. A seed draws the same random
numbers on each backend, and rounding makes the courses of training diverge. Judged on validation.

${tables.join('\n')}`;
}

/** Mean and spread of one backend's seeds, in words. */
function meanOf(backend: string, runs: readonly BackendRun[]): string {
  const describe = (key: 'generalist' | 'ensemble') => {
    const values = runs.filter((run) => run.backend === backend).map((run) => run[key]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = Math.sqrt(
      values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1),
    );
    return values.length > 1
      ? `${percent(mean)} with a standard deviation of ${(100 * spread).toFixed(1)} over ${values.length} seeds`
      : percent(mean);
  };
  return `${backend}: generalist ${describe('generalist')}, ensemble ${describe('ensemble')}.`;
}
