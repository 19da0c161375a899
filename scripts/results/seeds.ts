/**
 * Runs a pipeline for several seeds and writes the table of its results.
 *
 *     npm run build && KD_SPEC_BACKEND=wasm npx tsx scripts/results/seeds.ts pipelines/quickstart.yaml --seeds 1,2,3
 *
 * Writes `docs/results/NAME.md` and, with every figure, `NAME.json`. Beside generalist and ensemble stands what the
 * same training computation buys otherwise: the generalist, trained for as many epochs more as cost what all
 * specialists cost together.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Report } from '../../src/evaluation/report.js';
import { renderSeedsPage, type SeedResult } from './seeds/page.js';
import { kdSpec, metricsOf } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: 'string', default: '1,2,3' }, out: { type: 'string', default: 'docs/results' } },
});
const [pipeline = 'pipelines/quickstart.yaml'] = positionals;
const name = basename(pipeline, '.yaml');
const seeds = values.seeds.split(',').map(Number);

function runSeed(seed: number): SeedResult {
  const folder = mkdtempSync(join(tmpdir(), 'kd-spec-results-'));
  try {
    const workspace = join(folder, 'ensemble');
    kdSpec('run', pipeline, '--workspace', workspace, '--seed', String(seed));
    const report: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
    const { epochs, trainingFlops: ofGeneralist } = metricsOf(workspace, 'generalist');
    const { trainingFlops: ofSpecialists } = metricsOf(workspace, 'specialists');
    const longer = Math.ceil((epochs * (ofGeneralist + ofSpecialists)) / ofGeneralist);
    return {
      seed,
      test: report.test,
      conditional: report.conditional,
      fusion: report.fusion,
      secondsByStage: Object.fromEntries(report.stages.map(({ stage, seconds }) => [stage, seconds])),
      trainingFlops: { generalist: ofGeneralist, specialists: ofSpecialists },
      longer: trainOn(workspace, join(folder, 'longer'), longer),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The same generalist on the same data, for more epochs. */
function trainOn(from: string, workspace: string, epochs: number): SeedResult['longer'] {
  mkdirSync(workspace);
  cpSync(join(from, 'pipeline.yaml'), join(workspace, 'pipeline.yaml'));
  cpSync(join(from, 'dataset'), join(workspace, 'dataset'), { recursive: true, preserveTimestamps: true });
  kdSpec('predict', '--workspace', workspace, '--epochs', String(epochs), '--predict-split', 'test');
  const { trainingSeconds: seconds } = metricsOf(workspace, 'generalist');
  return { epochs, seconds, top1: metricsOf(workspace, 'predictions').top1 };
}

writeResult(values.out, name, seeds.map(runSeed), (results) => renderSeedsPage(name, results));
