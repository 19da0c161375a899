import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { percent } from '../../../src/core/percent.js';
import { meanOf, signed } from '../format.js';
import { allOf, order, type Result, rivals, titles, type Who } from './result.js';
import { renderSummary } from './summary.js';
import {
  ablationTable,
  confusionTable,
  contenderTable,
  coverageTable,
  routingTable,
  seedTable,
  temperedTable,
  trainingCurve,
} from './tables.js';

const names = ['jft-like-3k', 'han-3k', 'jft-like-15k', 'han-15k'];
/** Says first what did not work. */
function verdict(result: Result): string {
  const of = (who: Who) => meanOf(allOf(result, who).map(({ top1 }) => top1.mean));
  const run = rivals.filter((rival) => allOf(result, rival).length > 0);
  const missing = rivals.filter((rival) => !run.includes(rival)).map((rival) => titles[rival]);
  const behind = run.filter((rival) => of(rival) >= of('method'));
  const relative = (who: Who) => signed(of(who) / of('generalist') - 1);
  const notRun = missing.length > 0 ? ` Not run: ${missing.join(', ')}.` : '';
  const gain = `The specialists raise test top-1 by ${relative('method')} (relative)`;
  if (run.length === 0) return `${gain}.${notRun}`;
  if (behind.length > 0) {
    const who = behind.map((rival) => `${titles[rival]} (${percent(of(rival))})`).join(', ');
    return `**The specialists do not win here.** ${gain}, to ${percent(of('method'))}; with the same training computation at least as good: ${who}.${notRun}`;
  }
  const best = run.reduce((a, b) => (of(b) > of(a) ? b : a));
  return `${gain}, more than the same training computation bought otherwise at the same cost of an answer: the next best, ${titles[best]}, changes it by ${relative(best)}.${notRun}`;
}

/** The flags beyond the seeds with which a result was made. */
function asked(result: Result): string {
  const run = order.filter(
    (who) => who !== 'generalist' && who !== 'method' && allOf(result, who).length > 0,
  );
  const contenders = run.length === order.length - 2 ? '' : ` --contenders ${run.join(',') || 'none'}`;
  return contenders + (result.ablationPattern ? ` --ablations '${result.ablationPattern}'` : '');
}

function section(result: Result): string {
  const { name, comparisons } = result;
  const [first] = comparisons;
  return [
    `## ${name}`,
    verdict(result),
    ...(result.note ? [result.note] : []),
    ...contenderTable(result),
    ...temperedTable(result),
    ...seedTable(comparisons),
    ...coverageTable(first),
    ...confusionTable(comparisons),
    ...routingTable(first),
    ...trainingCurve(first),
    ...ablationTable(result),
    `Remake it, with every figure in \`specialists/${name}.json\`:\n\n    npm run build && npx tsx scripts/results/specialists.ts ${name} --seeds ${comparisons.map(({ seed }) => seed).join(',')}${asked(result)}`,
  ].join('\n\n');
}

/** The page of all benchmarks that were run, from their JSON alone. */
export function renderPage(results: readonly Result[]): string {
  const losing = results.filter((result) => verdict(result).startsWith('**'));
  return `# Specialists against what the same computation buys otherwise

${losing.length > 0 ? `Where specialists do not win: ${losing.map(({ name }) => name).join(', ')}; the sections say by how much.\n\n` : ''}Everything was chosen on validation. *Conditional*: only the classes of a kept specialist that covers the true class.
NLL is the mean negative log-likelihood in nats, ECE the expected calibration error. Training computation counts what
all specialists share, and three times a forward pass for each image of a step. The targets were gains of 8% of test top-1
and 10% of conditional top-1, relative.

What to keep in mind: all were trained on the backend \`tensorflow\` (\`npm run native\`); others give slightly other
figures. Networks and settings were changed, by validation, after earlier versions of these pipelines had
been read on the same test images. Rivals have the generalist's learning rate and batches, and their NLL and ECE are of
the softmax as it is, where our method fits temperatures and a weight on validation images. Rivals with more filters
at the same cost were not tried. ± takes images as independent; those of one font are not, and seeds share the fonts.

${renderSummary(results)}

The comparison holds *at the same cost of an answer*: no rival but the means of several generalists costs appreciably more
operations when it predicts than our method does. Where an answer may cost more, training has a better use. On
jft-like-3k with seed 4, a generalist with a dense layer of 96 units instead of 24, trained with a sampled head, had 51.4%
of the validation images right after three epochs (2.3 TFLOP of training), where the generalist of 24 units had 45.5%
(1.8 TFLOP) and with its specialists 51.1% (2.7 TFLOP). An answer of it costs 0.66 MFLOP, one of the ensemble 0.29. Twelve
specialists of 160 units on that wide generalist took it to 54.1% (cross-fitted), for 2.3 TFLOP more and 0.88 MFLOP an
answer; what width alone makes of those 4.6 TFLOP was not run. One run, without the test images:

    kd-spec train-generalist --source jft-like --classes 3000 --images-per-class 480 --seed 4 --convolutions 4,8 \\
      --dense 96 --sampled-head 512 --epochs 3 --patience none --schedule cosine --batch-size 256 --learning-rate 0.005

${results.map(section).join('\n\n')}
`;
}

/** Writes `specialists.md` from the JSON files beside it. */
export function writePage(folder: string): void {
  writeFileSync(join(folder, 'specialists.md'), renderPage(readResults(folder)));
}

/** The results of the benchmarks that were run, in the order of the page. */
export function readResults(folder: string): readonly Result[] {
  return names
    .map((name) => join(folder, 'specialists', `${name}.json`))
    .filter(existsSync)
    .map((path): Result => JSON.parse(readFileSync(path, 'utf8')));
}
