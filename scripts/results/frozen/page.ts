import { percent } from '../../../src/core/percent.js';
import { count, operations } from '../../../src/core/quantity-text.js';
import type { RivalsReport } from '../../../src/evaluation/rivals/compare-rivals.js';
import { meanOf, signed, table, within } from '../format.js';

/** Specialists and rivals of a pipeline under one seed. */
export interface FrozenRun {
  /** The name of its file, without the ending. */
  readonly pipeline: string;
  readonly seed: number;
  readonly rule: string;
  /** Specialists that take part. */
  readonly kept: number;
  readonly rivals: RivalsReport;
}

/** Mean over seeds, with the standard deviation between them where there are several. */
function spread(values: readonly number[]): string {
  const mean = meanOf(values);
  if (values.length === 1) return signed(mean);
  const squares = values.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return `${signed(mean)} ± ${(100 * Math.sqrt(squares / (values.length - 1))).toFixed(1)}`;
}

function sectionOf(name: string, runs: readonly FrozenRun[]): string {
  const [{ rivals: first }] = runs;
  const names = first.rivals.map((rival) => rival.name);
  const found = names.map((rival) => {
    const all = runs.flatMap((run) => run.rivals.rivals.filter((one) => one.name === rival));
    return { rival, all, gain: meanOf(all.map(({ best }) => best.gain)) };
  });
  const rows = found
    .filter(({ rival }) => rival !== 'temperature')
    .sort((a, b) => b.gain - a.gain)
    .map(({ rival, all }) => [
      rival === 'ensemble' ? '**specialists**' : rival,
      within(all.map(({ best }) => ({ mean: best.top1, standardError: best.standardError }))),
      rival === 'generalist' ? '' : spread(all.map(({ best }) => best.gain)),
      operations(Math.round(meanOf(all.map(({ flops }) => flops)))),
      operations(meanOf(all.map(({ trainingFlops }) => trainingFlops))),
      count(Math.round(meanOf(all.map(({ parameters }) => parameters)))),
    ]);
  const chosen = [...new Set(runs.map(({ rule, kept }) => `${rule}, ${kept} specialists`))];
  return `## ${name}: ${count(first.classes)} classes, ${first.features} features

${table(['', 'test top-1', 'gain', 'a prediction after the backbone', 'training', 'parameters'], rows)}

Seeds ${runs.map(({ seed }) => seed).join(', ')}; ${count(first.test.examples)} test images each, which no choice was made on; ± is the standard deviation between seeds. Ensembles: ${chosen.join('; ')}. The standard error of a top-1 on the images of one seed is ${percent(first.test.standardError)}.
`;
}

export function renderFrozenRivals({ runs }: { readonly runs: readonly FrozenRun[] }): string {
  const names = [...new Set(runs.map(({ pipeline }) => pipeline))];
  return `# Specialists, and what else the generalist's features allow

    npm run build && npx tsx scripts/results/frozen-rivals.ts ${names[0]}   # a pipeline at a time adds to the page

For each seed a pipeline runs to its ensemble, and \`kd-spec rivals\` trains, on the same images and as many views of them, what leaves the generalist's features as they are: a bias for each class (\`bias\`), the head anew (\`refitted\`), mixed with the original (\`interpolated\`), with a hidden layer beside it (\`hidden\`), an adapter of low rank before it (\`adapter\`), a vote of nearest neighbours among the training features over the ten most probable classes (\`neighbours\`). Their numbers are chosen on validation. No class is without images, so that there is no harm to bound.

${names
  .map((name) =>
    sectionOf(
      name,
      runs.filter(({ pipeline }) => pipeline === name),
    ),
  )
  .join('\n')}`;
}
