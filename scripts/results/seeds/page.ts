import { percent } from '../../../src/core/percent.js';
import type { Report } from '../../../src/evaluation/report.js';

/** What a pipeline came to under one seed. */
export interface SeedResult {
  readonly seed: number;
  readonly test: Report['test'];
  readonly conditional: Report['conditional'];
  readonly fusion: Report['fusion'];
  readonly secondsByStage: Readonly<Record<string, number>>;
  /** Floating-point operations of training the generalist, and of all specialists together. */
  readonly trainingFlops: { readonly generalist: number; readonly specialists: number };
  /** The generalist trained on: its epochs, its seconds and its test top-1. */
  readonly longer: { readonly epochs: number; readonly seconds: number; readonly top1: number };
}

const points = (share: number) => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(2)}`;

function meanAndDeviation(numbers: readonly number[]) {
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const squares = numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, numbers.length - 1)) };
}

/** Mean accuracies over the seeds ± their standard deviation. */
export function seedsTable(results: readonly SeedResult[]): string {
  const over = (pick: (result: SeedResult) => number) => meanAndDeviation(results.map(pick));
  const cell = (pick: (result: SeedResult) => number) => {
    const { mean, deviation } = over(pick);
    return `${percent(mean)} ± ${(100 * deviation).toFixed(1)}`;
  };
  return `| | conditional top-1 | test top-1 | test top-5 |
| --- | ---: | ---: | ---: |
| generalist | ${cell((r) => r.conditional.generalist.top1)} | ${cell((r) => r.test.generalist.top1)} | ${cell((r) => r.test.generalist.top5)} |
| ensemble | ${cell((r) => r.conditional.ensemble.top1)} | ${cell((r) => r.test.ensemble.top1)} | ${cell((r) => r.test.ensemble.top5)} |
| the generalist trained on, same training computation | | ${cell((r) => r.longer.top1)} | |`;
}

/** The gain of each seed. */
function gainsTable(results: readonly SeedResult[]): string {
  const gain = (pick: (result: SeedResult) => { top1: number; top1StandardError: number }) =>
    results.map(
      (result) => `${points(pick(result).top1)} ± ${(100 * pick(result).top1StandardError).toFixed(2)}`,
    );
  const seedRows = results.map(({ seed, fusion, longer }, row) =>
    [
      seed,
      gain(({ conditional }) => conditional.difference)[row],
      gain(({ test }) => test.difference)[row],
      `${fusion.kept} of ${fusion.trained}`,
      fusion.rule,
      `${percent(longer.top1)} (${longer.epochs} epochs)`,
    ].join(' | '),
  );
  return `Gains in percentage points, each ± the standard error of the paired difference on its test images:

| seed | conditional gain | test gain | specialists kept | rule | generalist trained on |
| ---: | ---: | ---: | ---: | --- | ---: |
${seedRows.map((row) => `| ${row} |`).join('\n')}`;
}

/** The page of a pipeline. */
export function renderSeedsPage(name: string, results: readonly SeedResult[]): string {
  return `# ${name}

Where the generalist, trained on for as much computation as all specialists took, ends above the ensemble, more
training of the generalist is the better buy at that size: its loss was still falling. The gain over the generalist as
it was is real all the same.

Mean over ${results.length} seeds ± standard deviation between seeds.

${seedsTable(results)}

${gainsTable(results)}

Remake it, with every figure in \`${name}.json\`:

    npm run build && KD_SPEC_BACKEND=wasm npx tsx scripts/results/seeds.ts pipelines/${name}.yaml --seeds ${results.map(({ seed }) => seed).join(',')}
`;
}
