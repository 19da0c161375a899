import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { percent } from '../../../src/core/percent.js';
import { meanOf, signed, table } from '../format.js';
import { frontierTable } from '../frontier/page.js';
import type { FrontierResult } from '../frontier/result.js';
import { readingHeading } from '../write-result.js';
import { allOf, order, type Result, rivals, titles, type Who } from './result.js';
import { benchmarks, renderSummary } from './summary.js';
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

/** The page of one benchmark, with every table; links lead from its folder. */
export function renderBenchmark(result: Result): string {
  const { name, comparisons } = result;
  const [first] = comparisons;
  const page = [
    `# ${benchmarks[name] ?? name}: specialists against what the same computation buys otherwise`,
    `The tables behind [the comparison](specialists.md). ${verdict(result)} *Conditional*: only the classes of a kept specialist that covers the true class. NLL is the mean negative log-likelihood in nats, ECE the expected calibration error.`,
    ...contenderTable(result),
    ...temperedTable(result),
    ...seedTable(comparisons),
    ...coverageTable(first),
    ...confusionTable(comparisons),
    ...routingTable(first),
    ...trainingCurve(first),
    ...ablationTable(result),
    ...(result.note ? [readingHeading, result.note] : []),
    `Remake it, with every figure in \`${name}.json\`:\n\n    npm run build && npx tsx scripts/results/specialists.ts ${name} --seeds ${comparisons.map(({ seed }) => seed).join(',')}${asked(result)}`,
  ].join('\n\n');
  return `${page.replaceAll(/\]\((?=[a-z0-9-]+\.md)/g, '](../')}\n`;
}

/** Everybody's test top-1 on every benchmark, and what one prediction costs against the generalist's. */
function overview(results: readonly Result[]): string {
  const rows = order
    .filter((who) => results.some((result) => allOf(result, who).length > 0))
    .map((who) => [
      titles[who],
      ...results.flatMap((result) => {
        const of = allOf(result, who);
        if (of.length === 0) return ['', ''];
        const cost = (whose: Who) => meanOf(allOf(result, whose).map(({ flopsPerImage }) => flopsPerImage));
        return [
          percent(meanOf(of.map(({ top1 }) => top1.mean))),
          (cost(who) / cost('generalist')).toFixed(2),
        ];
      }),
    ]);
  return table(['', ...results.flatMap(({ name }) => [name, 'cost'])], rows);
}

/** The page that sums up all benchmarks that were run, from their JSON alone. */
export function renderPage(results: readonly Result[], frontier: FrontierResult): string {
  const losing = results.filter((result) => verdict(result).startsWith('**'));
  return `# Specialists against what the same computation buys otherwise

${losing.length > 0 ? `Where specialists do not win: ${losing.map(({ name }) => name).join(', ')}; their pages say by how much.\n\n` : ''}**In short.** Whoever may train a classifier anew has better uses for the computation: on 3,000 synthetic classes, for
about the same training and operations of a prediction, a wide generalist with a sampled head and a softmax of two levels are
ahead of specialists ([below](#where-the-classifier-may-be-trained-anew)). Specialists are for a generalist that stays as it
is: there, on these classes, [what else its features allow](frozen-rivals.md) gains less than half as much (one seed). They
also beat every rival of the next table, by 1.3 to 5.4 points; the lead grows with the number of classes.

${renderSummary(results)}

± is the standard deviation between seeds, or the standard error on the test images of a single one. Each benchmark has a
page with all tables and a reading of them: ${results.map(({ name }) => `[${name}](specialists/${name}.md)`).join(', ')}.

## The rivals

Test top-1, and the operations of a prediction against the generalist's (*cost*). All rows below our method have the
training computation of the generalist and our specialists together; the wider generalist is as wide as the ensemble's
operations of a prediction allow.

${overview(results)}

## Where the classifier may be trained anew

On ${frontier.name}, everything but the generalist alone for about the training of generalist and specialists together, test images of
${frontier.seeds.length} seeds that no other page has read ([all contenders](frontier-${frontier.name}.md)):

${frontierTable(frontier)}

A sampled head makes width cheap in training, and a preview of the head, or two levels, makes it cheap in a prediction: what
held the wider generalists of the table above back was the cost of a full head. Two levels are as good as their groups, which
are made of the same kind of confusions as specialists' subsets. The groups of the wide scout and of the generalist were
added after test figures of the small scout's had been seen, by validation.

## What decides it

- **Width is what specialists buy.** A unit more in the generalist's last layer costs its convolutions' features and a
  head of all classes; a specialist's head has 301 outputs. So specialists have 64 to 96 units where these generalists
  have 24 to 40. Specialists as wide as the generalist, the paper's, gain half to two thirds as much.
- **More classes, more gain.** At 15,000 classes specialists gain 7 and 10 points, at 3,000 five and six.
- **The generalists are at their end.** Trained on for as many operations they gain 0.4 to 2.3 points.
- **Operations are not time.** Networks this small spend it on calls and on passes over all classes: a prediction takes
  about twice as long as the generalist's, exported three to six times ([cost of a prediction](inference.md)).
- **Parameters multiply**, by five to nine. At equal parameters specialists have not been compared.
- **Some changes do better on validation** and have not been taken over, since they were tried after test had been read:
  twice as many specialists, subsets from the labelled confusion matrix, everything retrained (tables on the pages of
  [jft-like-3k](specialists/jft-like-3k.md) and [han-3k](specialists/han-3k.md)).

## What to keep in mind

Everything was chosen on validation. Training computation counts what all specialists share, and three times a forward
pass for each image of a step. All were trained on the backend \`tensorflow\` (\`npm run native\`). Other backends and
processors give slightly other figures: \`kd-spec run pipelines/jft-like-3k.yaml --seed 1 --backend tensorflow\` went from
45.31 to 51.17% on the machine of these pages, and from 45.23 to 51.11% on another. Networks and settings were changed, by validation, after earlier versions of these pipelines had been read
on the same test images. Rivals have the generalist's learning rate and batches; our specialists' batches are smaller,
which is worth 1.1 points on han-3k. NLL and ECE of rivals are of the softmax as it is, where our method fits temperatures
and a weight on validation images; a generalist with a temperature of its own stands beside it on the benchmarks' pages.
Rivals with more filters at the same cost and re-ranking by nearest neighbours were not tried. ± takes images as independent; those of one font are not, and seeds share the fonts. The
targets were gains of 8% of test top-1 and 10% of conditional top-1, relative; han-3k misses both.

Remake a benchmark, and this page: \`npm run build && npx tsx scripts/results/specialists.ts NAME\`, with the flags that its
page names.
`;
}

const frontierFile = 'frontier-jft-like-3k.json';

/** The frontier of a folder of results, or where it has none, that of the documents. */
export function readFrontier(folder: string): FrontierResult {
  const place = existsSync(join(folder, frontierFile)) ? folder : 'docs/results';
  return JSON.parse(readFileSync(join(place, frontierFile), 'utf8'));
}

/** Writes `specialists.md`, and a page beside each JSON file. */
export function writePages(folder: string): void {
  const results = readResults(folder);
  writeFileSync(join(folder, 'specialists.md'), renderPage(results, readFrontier(folder)));
  for (const result of results)
    writeFileSync(join(folder, 'specialists', `${result.name}.md`), renderBenchmark(result));
}

/** The results of the benchmarks that were run, in the order of the page. */
export function readResults(folder: string): readonly Result[] {
  return names
    .map((name) => join(folder, 'specialists', `${name}.json`))
    .filter(existsSync)
    .map((path): Result => JSON.parse(readFileSync(path, 'utf8')));
}
