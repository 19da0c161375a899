/**
 * Specialists beside what else the generalist's own features allow, on the benchmarks: `kd-spec rivals` for each seed.
 *
 *     npm run build && npx tsx scripts/results/frozen-rivals.ts quickstart --seeds 11,12,13
 *
 * For each seed the pipeline `pipelines/NAME.yaml` runs to its ensemble, and then its rivals: the classes' bias, the head
 * refitted and mixed with the original, a hidden layer, an adapter, nearest neighbours, all on the same images and views.
 * Their numbers are chosen on validation, the test images are read once. A pipeline, or a seed, at a time adds to the
 * page; interrupted, it goes on where it was. Results: `docs/results/frozen-rivals.json` and `.md`.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { RivalsReport } from '../../src/evaluation/rivals/compare-rivals.js';
import { type FrozenRun, renderFrozenRivals } from './frozen/page.js';
import { kdSpec, metricsOf, remembered, runVariant } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '11,12,13' },
    folder: { type: 'string', default: 'kd-workspace/results' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [name = 'quickstart'] = positionals;

async function runOf(seed: number): Promise<FrozenRun> {
  const folder = join(values.folder, `${name}-frozen`, String(seed));
  mkdirSync(folder, { recursive: true });
  const bench = { pipeline: `pipelines/${name}.yaml`, folder, seed };
  return remembered(join(folder, 'run.json'), () => {
    const { workspace, until } = runVariant(bench, 'ours', {});
    until('calibrate');
    const rivals = kdSpec('rivals', '--workspace', workspace, '--seed', String(seed)) as RivalsReport;
    const { rule, kept } = metricsOf(workspace, 'ensemble');
    return { pipeline: name, seed, rule, kept, rivals };
  });
}

const path = join(values.out, 'frozen-rivals.json');
const runs: FrozenRun[] = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).runs : [];
for (const seed of values.seeds.split(',').map(Number)) {
  const run = await runOf(seed);
  const place = runs.findIndex((one) => one.pipeline === name && one.seed === seed);
  runs.splice(place < 0 ? runs.length : place, place < 0 ? 0 : 1, run);
}
writeResult(values.out, 'frozen-rivals', { runs }, renderFrozenRivals);
