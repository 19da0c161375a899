/**
 * Whether it matters which classes share a subset: specialists for subsets with less and less confusion in them.
 *
 *     npm run build && npx tsx scripts/results/inside.ts jft-like-3k --moved 0,0.25,0.5,1
 *
 * Subsets as the pipeline finds them, and the same after a share of their classes traded places at random: as many
 * subsets of the same sizes that cover the same classes, trained alike, beside the same generalist. Judged on validation
 * by cross-fitting. Goes on where it was, and with the workspaces of `specialists.ts`, when they are there. Results:
 * `docs/results/inside-NAME.json` and `.md`.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readSubsets, writeSubsets } from '../../src/ensemble/subsets/subsets-file.js';
import { type InsideResult, renderInsidePage } from './inside/page.js';
import { tradePlaces } from './inside/trade-places.js';
import { type Bench, metricsOf, remembered, runVariant } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    moved: { type: 'string', default: '0,0.25,0.5,1' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: 'kd-workspace/results' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [name = 'jft-like-3k'] = positionals;
const seed = Number(values.seed);
const bench: Bench = {
  pipeline: `pipelines/${name}.yaml`,
  seed,
  folder: join(values.folder, name, values.seed),
};

async function measure(moved: number) {
  const { workspace, until } =
    moved === 0 ? runVariant(bench, 'ours', {}) : await withSubsetsAfter(moved, join(bench.folder, 'ours'));
  until('calibrate');
  const { classes, confusionInside, count, sizes } = metricsOf(workspace, 'subsets');
  const { generalist, crossFitted, examples, kept, rule } = metricsOf(workspace, 'ensemble');
  const { trainingFlops } = metricsOf(workspace, 'specialists');
  return {
    moved,
    confusionInside,
    generalist,
    crossFitted,
    examples,
    kept,
    rule,
    count,
    size: sizes.median,
    classes,
    trainingFlops,
  };
}

/** The pipeline with a share of our subsets' classes in others' places. */
async function withSubsetsAfter(moved: number, ours: string) {
  const { classes, subsets } = await readSubsets(join(ours, 'subsets', 'subsets.json'));
  const variant = `moved-${moved}`;
  mkdirSync(join(bench.folder, variant), { recursive: true });
  const file = resolve(bench.folder, variant, 'given.json');
  await writeSubsets(file, { classes, subsets: tradePlaces(subsets, moved, seed) });
  return runVariant(bench, variant, { subsets: { file } }, [
    'ours',
    ['dataset', 'generalist', 'predictions'],
  ]);
}

mkdirSync(bench.folder, { recursive: true });
const rows: InsideResult['rows'][number][] = [];
for (const moved of values.moved.split(',').map(Number)) {
  rows.push(await remembered(join(bench.folder, `moved-${moved}.json`), () => measure(moved)));
}
writeResult(values.out, `inside-${name}`, { name, seed, rows }, renderInsidePage);
